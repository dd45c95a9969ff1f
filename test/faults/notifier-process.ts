import { logoutNotifier } from '../../lib/index.ts'
import type { DeliveryQueue } from '../../lib/delivery-queue.ts'
import { openQueue } from './delivery-queues.ts'

/** How long a delivery of the fault test is attempted, in milliseconds. */
export const lifetime = 600_000

/** Makes a notifier whose clients are at one port of loopback, each on a path or a name of its own. */
export function notifierFor (queue: DeliveryQueue, port: string) {
  const hosts: Readonly<Record<string, string>> = { private: 'private.test' }
  return logoutNotifier({
    issuer: 'https://login.example',
    sign: claims => `x.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.x`,
    findClient: clientId => ({ uri: `http://${hosts[clientId] ?? '127.0.0.1'}:${port}/${clientId}` }),
    queue,
    wait: 0,
    limits: { timeout: 1000, sessionLifetime: lifetime },
    network: { allowInsecure: true, allowAddresses: ['127.0.0.1'], resolve: () => ['127.0.0.66'] }
  })
}

// As a process of its own: it delivers until it is killed.
const [name, place, port] = process.argv.slice(2)
if (import.meta.filename === process.argv[1] && name !== undefined && place !== undefined && port !== undefined) {
  const { queue } = await openQueue(name, place)
  await notifierFor(queue, port).start()
  console.log('ready')
  setInterval(() => {}, 60_000)
}
