import { fork } from 'node:child_process'
import { pin, serverCore } from './cores.js'

const entry = new URL('subject-process.js', import.meta.url)

/** Starts a subject (a file of `subjects/`) in a process of its own, on the core of servers. */
export async function startSubject (file, parameters = {}, { execArgv = [] } = {}) {
  const child = fork(entry, [new URL(`subjects/${file}`, import.meta.url).href, JSON.stringify(parameters)], {
    execArgv: ['--expose-gc', '--disable-warning=FASTIFY_LOGOUT_POOL_TIMEOUTS', '--disable-warning=FASTIFY_LOGOUT_REDIS_TIMEOUT', ...execArgv],
    serialization: 'advanced',
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, NODE_ENV: 'production' }
  })
  pin(child.pid, serverCore)
  const waiting = new Map()
  let lastId = 0

  const started = await new Promise((resolve, reject) => {
    child.on('message', (message) => {
      if (message.id === undefined) return resolve(message)
      const { answer, fail } = waiting.get(message.id)
      waiting.delete(message.id)
      if (message.error === undefined) answer(message.result)
      else fail(new Error(`${file}: ${message.error}`))
    })
    child.once('exit', (code) => {
      const error = new Error(`${file} ended with ${code}`)
      reject(error)
      for (const { fail } of waiting.values()) fail(error)
    })
  })

  return {
    ...started,
    pid: child.pid,
    ask: (command, argument) => new Promise((resolve, reject) => {
      waiting.set(++lastId, { answer: resolve, fail: reject })
      child.send({ id: lastId, command, argument })
    }),
    end: () => new Promise((resolve) => {
      child.once('exit', resolve)
      child.kill('SIGKILL')
    })
  }
}
