// One subject in a process of its own: it listens, puts sessions in, and tells what the work cost it.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { httpRequest } from './http-load.js'

process.once('disconnect', () => process.exit())

const [file, parameters] = process.argv.slice(2)
const { default: make } = await import(file)
const subject = await make(JSON.parse(parameters))
const port = await listen(subject)

let profiler
const commands = {
  seed: async ({ from, count }) => {
    await subject.seed?.(from, count)
    const requests = Array.from({ length: count }, (_, index) => httpRequest(subject.request(from + index)))
    globalThis.gc?.()
    return requests
  },
  usage: () => {
    const { user, system } = process.cpuUsage()
    return { microseconds: user + system }
  },
  memory: () => {
    globalThis.gc?.()
    return process.memoryUsage()
  },
  isOver: async ({ index }) => await subject.isOver?.(index) ?? true,
  profileStart: async () => {
    const { Session } = await import('node:inspector/promises')
    profiler = new Session()
    profiler.connect()
    await profiler.post('Profiler.enable')
    await profiler.post('Profiler.start')
  },
  profileStop: async () => (await profiler.post('Profiler.stop')).profile,
  run: async argument => subject.run(argument)
}

process.on('message', async ({ id, command, argument }) => {
  try {
    process.send({ id, result: await commands[command](argument) })
  } catch (error) {
    process.send({ id, error: error.stack ?? String(error) })
  }
})
process.send({ port, status: subject.status ?? 204, most: subject.most ?? Infinity })

async function listen ({ app, handler }) {
  if (app !== undefined) {
    await app.listen({ port: 0, host: '127.0.0.1' })
    return app.server.address().port
  }
  if (handler === undefined) return 0
  const server = createServer(handler).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server.address().port
}
