import { generateKeyPairSync } from 'node:crypto'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'
import { logoutNotifier, type LogoutClient, type LogoutNotifierOptions } from '../lib/index.ts'
import type { AttemptDelivery, Delivery, DeliveryOutcome, DeliveryQueue } from '../lib/delivery-queue.ts'
import type { DeliveryMessage } from '../lib/internal/plugin/diagnostics.ts'

/** A request as an application saw it. */
export interface Received {
  readonly method: string
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** An application that is notified of logouts, on loopback. */
export interface Receiver {
  readonly url: string
  readonly seen: Received[]
  /** What it does with a request. By default it responds with 200. */
  respond: (response: ServerResponse, received: Received) => unknown
}

export async function startReceiver (
  t: Pick<Test, 'teardown'>, respond: Receiver['respond'] = response => response.end()
): Promise<Receiver> {
  const server = createServer(async (request, response) => {
    const { method = '', url = '', headers } = request
    const received = { method, url, headers, body: await text(request) }
    receiver.seen.push(received)
    receiver.respond(response, received)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const receiver: Receiver = { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen: [], respond }
  return receiver
}

export const issuer = 'https://login.example'
export const keys = generateKeyPairSync('rsa', { modulusLength: 2048 })
export const sign = { privateKey: keys.privateKey, algorithm: 'RS256', keyId: 'k1' } as const
export const loopback = { allowInsecure: true, allowAddresses: ['127.0.0.0/8'] }

export function delivery (members: Partial<Delivery> = {}): Delivery {
  const now = Date.now()
  return { id: 'd1', clientId: 'shop', subject: 'alice', sid: 'phone', at: now, since: now, attempt: 1, refusals: 0, ...members }
}

/** A notifier whose queue is the test: it hands out deliveries by hand, and sees what is logged and published. */
export async function handOut (
  t: Test, client: LogoutClient | undefined | (() => LogoutClient | undefined), options: Partial<LogoutNotifierOptions> = {}
) {
  const messages: DeliveryMessage[] = []
  const listener = (message: unknown) => { messages.push(message as DeliveryMessage) }
  subscribe('fastify-logout:delivery', listener)
  t.teardown(() => unsubscribe('fastify-logout:delivery', listener))
  const logged: Array<Record<string, unknown>> = []
  const log = {
    warn: (line: object) => { logged.push({ level: 'warn', ...line }) },
    error: (line: object) => { logged.push({ level: 'error', ...line }) }
  }
  const { queue, attempt, enqueued } = handQueue()
  const notifier = logoutNotifier({
    issuer, sign, queue, network: loopback, log, findClient: () => typeof client === 'function' ? client() : client, ...options
  })
  const stop = await notifier.start()
  t.teardown(stop)
  return { notifier, attempt, enqueued, messages, logged }
}

/** A queue whose only worker is called by hand. */
export function handQueue () {
  const enqueued: Delivery[] = []
  let work: AttemptDelivery = async () => { throw new Error('nobody works') }
  const queue: DeliveryQueue = {
    enqueue: deliveries => { enqueued.push(...deliveries) },
    work: attempt => {
      work = attempt
      return async () => 0
    },
    dead: () => [],
    redeliver: () => false
  }
  return { queue, enqueued, attempt: (one: Delivery = delivery()): Promise<DeliveryOutcome> => work(one) }
}
