// One subject in a process of its own: it listens, puts sessions in, and tells what the work cost it.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { httpRequest } from './http-load.js'

process.once('disconnect', () => process.exit())

const [file, parameters] = process.argv.slice(2)
const { default: make } = await import(file)
const subject = await make(JSON.parse(parameters))
const port = await listen(subject)

const commands = {
  // No garbage is collected by force in between: V8 then forgets what it compiled, and the round measures that.
  seed: async ({ from, count }) => {
    await subject.seed?.(from, count)
    const requests = Array.from({ length: count }, (_, index) => httpRequest(subject.request(from + index)))
    return requests
  },
  usage: () => {
    const { user, system } = process.cpuUsage()
    return { microseconds: user + system }
  },
  isOver: async ({ index }) => await subject.isOver?.(index) ?? true,
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
