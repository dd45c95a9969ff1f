import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { redisBacklog } from '../../../lib/internal/databases/redis-backlog.ts'
import { redisScripts, type IoredisLike } from '../../../lib/internal/databases/redis.ts'

const full = /100 commands are unanswered/

function silentServer () {
  const clock = { now: 5000 }
  const send = redisBacklog(() => clock.now, 100)
  const waiting: Array<{ resolve: (reply: string) => void, reject: (error: Error) => void }> = []
  const ask = () => send(() => new Promise<string>((resolve, reject) => { waiting.push({ resolve, reject }) }))
  const askOften = (times: number) => Array.from({ length: times }, () => ask().catch((error: Error) => error.message))
  return { clock, ask, askOften, waiting }
}

t.test('while a server is silent, at most so many commands wait for it', async t => {
  const { clock, ask, askOften, waiting } = silentServer()
  const replies = askOften(100)
  clock.now += 1001
  askOften(1)
  t.equal(waiting.length, 101, 'one is sent to find out')
  await t.rejects(ask(), full)
  clock.now += 1000
  await t.rejects(ask(), full)
  t.equal(waiting.length, 101)
  clock.now += 1
  askOften(1)
  t.equal(waiting.length, 102, 'and one more a second later')
  await t.rejects(ask(), full)

  waiting[0]?.resolve('reply')
  t.equal(await replies[0], 'reply')
  askOften(1)
  t.equal(waiting.length, 103, 'a reply opens the way')
})

t.test('below the bound, and before a second of silence, nothing is refused', async t => {
  const { clock, askOften, waiting } = silentServer()
  askOften(90)
  clock.now += 60_000
  askOften(10)
  t.equal(waiting.length, 100)
  const patient = silentServer()
  patient.askOften(100)
  patient.clock.now += 1000
  patient.askOften(9)
  t.equal(patient.waiting.length, 109)
  const busy = silentServer()
  busy.askOften(200)
  busy.clock.now += 900
  busy.waiting[0]?.resolve('reply')
  await new Promise(resolve => setImmediate(resolve))
  busy.clock.now += 900
  busy.askOften(200)
  t.equal(busy.waiting.length, 400)
})

t.test('the silence begins with the first command that waits', async t => {
  const { clock, ask, askOften, waiting } = silentServer()
  const first = ask()
  waiting[0]?.resolve('reply')
  await first
  clock.now += 60_000
  askOften(200)
  t.equal(waiting.length, 201)
})

t.test('commands that the client gave up count until a reply comes, and an error of the server is a reply', async t => {
  const errors = [
    ['Command timed out', false], ['Connection is closed.', false], ['no TLS here', false], ['READONLY no writes here', true]
  ] as const
  for (const [message, opens] of errors) {
    const { clock, ask, askOften, waiting } = silentServer()
    const failed = askOften(100)
    for (const { reject } of waiting.slice(1)) reject(new Error('Command timed out'))
    await Promise.all(failed.slice(1))
    clock.now += 1001
    askOften(1)
    await t.rejects(ask(), full)
    waiting[0]?.reject(new Error(message))
    t.equal(await failed[0], message)
    if (opens) askOften(2)
    else await t.rejects(ask(), full)
    t.equal(waiting.length, opens ? 103 : 101, message)
    clock.now += 60_000
    askOften(9)
    t.equal(waiting.length, opens ? 112 : 102, 'what was given up counts no longer after a reply')
  }
})

t.test('a command that the client gave up counts once', async t => {
  const { clock, askOften, waiting } = silentServer()
  const failed = askOften(60)
  for (const { reject } of waiting) reject(new Error('Command timed out'))
  await Promise.all(failed)
  clock.now += 60_000
  askOften(40)
  t.equal(waiting.length, 100)
})

t.test('all stores of a client share the bound', async t => {
  let sent = 0
  const client: IoredisLike = { evalsha: () => { sent++; return new Promise(() => {}) }, eval: async () => {} }
  const [one, two] = [redisScripts(client, 'one')('return 1'), redisScripts(client, 'two')('return 2')]
  for (let index = 0; index < 5000; index++) for (const script of [one, two]) script(['key']).catch(() => {})
  await sleep(1100)
  one(['key']).catch(() => {})
  await t.rejects(two(['key']), /10000 commands are unanswered/)
  t.equal(sent, 10_001)
})
