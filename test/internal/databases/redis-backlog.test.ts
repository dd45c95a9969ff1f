import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { redisBacklog } from '../../../lib/internal/databases/redis-backlog.ts'
import { redisScripts, type IoredisLike } from '../../../lib/internal/databases/redis.ts'

const full = /10000 commands are unanswered/

function silentServer () {
  const clock = { now: 5000 }
  const send = redisBacklog(() => clock.now)
  const waiting: Array<{ resolve: (reply: string) => void, reject: (error: Error) => void }> = []
  const ask = () => send(() => new Promise<string>((resolve, reject) => { waiting.push({ resolve, reject }) }))
  const askOften = (times: number) => Array.from({ length: times }, () => ask().catch((error: Error) => error.message))
  return { clock, ask, askOften, waiting }
}

t.test('while a server is silent, at most 10,000 commands wait for it', async t => {
  const { clock, ask, askOften, waiting } = silentServer()
  const replies = askOften(10_000)
  clock.now += 1001
  askOften(1)
  t.equal(waiting.length, 10_001, 'one is sent to find out')
  await t.rejects(ask(), full)
  clock.now += 1000
  await t.rejects(ask(), full)
  t.equal(waiting.length, 10_001)
  clock.now += 1
  askOften(1)
  t.equal(waiting.length, 10_002, 'and one more a second later')
  await t.rejects(ask(), full)

  waiting[0]?.resolve('reply')
  t.equal(await replies[0], 'reply')
  askOften(1)
  t.equal(waiting.length, 10_003, 'a reply opens the way')
})

t.test('below the bound, and before a second of silence, nothing is refused', async t => {
  const { clock, askOften, waiting } = silentServer()
  askOften(9_000)
  clock.now += 60_000
  askOften(1_000)
  t.equal(waiting.length, 10_000)
  const patient = silentServer()
  patient.askOften(10_000)
  patient.clock.now += 1000
  patient.askOften(9)
  t.equal(patient.waiting.length, 10_009)
  const busy = silentServer()
  busy.askOften(20_000)
  busy.clock.now += 900
  busy.waiting[0]?.resolve('reply')
  await new Promise(resolve => setImmediate(resolve))
  busy.clock.now += 900
  busy.askOften(20_000)
  t.equal(busy.waiting.length, 40_000)
})

t.test('the silence begins with the first command that waits', async t => {
  const { clock, ask, askOften, waiting } = silentServer()
  const first = ask()
  waiting[0]?.resolve('reply')
  await first
  clock.now += 60_000
  askOften(20_000)
  t.equal(waiting.length, 20_001)
})

t.test('commands that the client gave up count until a reply comes, and an error of the server is a reply', async t => {
  const errors = [
    ['Command timed out', false], ['Connection is closed.', false], ['no TLS here', false], ['READONLY no writes here', true]
  ] as const
  for (const [message, opens] of errors) {
    const { clock, ask, askOften, waiting } = silentServer()
    const failed = askOften(10_000)
    for (const { reject } of waiting.slice(1)) reject(new Error('Command timed out'))
    await Promise.all(failed.slice(1))
    clock.now += 1001
    askOften(1)
    await t.rejects(ask(), full)
    waiting[0]?.reject(new Error(message))
    t.equal(await failed[0], message)
    if (opens) askOften(2)
    else await t.rejects(ask(), full)
    t.equal(waiting.length, opens ? 10_003 : 10_001, message)
    clock.now += 60_000
    askOften(9)
    t.equal(waiting.length, opens ? 10_012 : 10_002, 'what was given up counts no longer after a reply')
  }
})

t.test('a command that the client gave up counts once', async t => {
  const { clock, askOften, waiting } = silentServer()
  const failed = askOften(6_000)
  for (const { reject } of waiting) reject(new Error('Command timed out'))
  await Promise.all(failed)
  clock.now += 60_000
  askOften(4_000)
  t.equal(waiting.length, 10_000)
})

t.test('all stores of a client share the bound', async t => {
  let sent = 0
  const client: IoredisLike = { evalsha: () => { sent++; return new Promise(() => {}) }, eval: async () => {} }
  const [one, two] = [redisScripts(client, 'one')('return 1'), redisScripts(client, 'two')('return 2')]
  for (let index = 0; index < 5000; index++) for (const script of [one, two]) script(['key']).catch(() => {})
  await sleep(1100)
  one(['key']).catch(() => {})
  await t.rejects(two(['key']), full)
  t.equal(sent, 10_001)
})
