import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { EventEmitter, once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { askWithin, Outage } from '../../../lib/internal/plugin/ask.ts'
import { mostUnanswered } from '../../../lib/internal/plugin/backlog.ts'
import { TokenRejectedError } from '../../../lib/token-verifier.ts'

const ask = askWithin(20, 'aPlugin')
const never = async () => new Promise<never>(() => {})

t.test('a plain value is returned without a promise', async t => {
  for (const value of ['text', 0, null, undefined, { then: 'not a function' }]) t.equal(ask('question', () => value), value)
})

t.test('a promise and a thenable are awaited', async t => {
  t.equal(await ask('question', async () => 5), 5)
  t.equal(await ask('question', () => ({ then: (resolve: (value: number) => void) => { resolve(5) } }) as PromiseLike<number>), 5)
})

t.test('a call that fails or times out throws an Outage with the cause', async t => {
  const cause = new Error('secret')
  const outage = { name: 'Outage', message: 'question failed', cause }
  t.throws(() => ask('question', () => { throw cause }), outage)
  await t.rejects(async () => ask('question', async () => { throw cause }), outage)
  await t.rejects(async () => ask('question', () => ({ then: () => { throw cause } }) as PromiseLike<never>), outage)
  await t.rejects(async () => ask('question', never), { ...outage, cause: new Error('no answer within 20 ms') })
})

t.test('a TokenRejectedError is an Outage, too: only a verifier can refuse a token', async t => {
  const rejection = Object.assign(new TokenRejectedError('revoked'), { statusCode: 401 })
  for (const call of [() => { throw rejection }, async () => { throw rejection }]) {
    await t.rejects(async () => ask('question', call), { name: 'Outage', cause: rejection })
  }
})

t.test('a rejection after the timeout is ignored, and no timer is left', async t => {
  await t.rejects(async () => ask('question', async () => { await sleep(30); throw new Error('late') }), Outage)
  await sleep(20)
  // A rejection that nobody handles would have failed this test by now.
  const timers = () => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length
  const before = timers()
  const long = askWithin(60_000, 'aPlugin')
  await long('question', async () => 5)
  await t.rejects(async () => long('question', async () => { throw new Error('failed') }))
  t.equal(timers(), before)
})

t.test('finish', async t => {
  t.test('is called before the value is returned, synchronously for a plain value', async t => {
    const seen: number[] = []
    t.equal(ask('question', () => 5, value => { seen.push(value) }), 5)
    t.equal(await ask('question', () => 6, async value => { await sleep(1); seen.push(value) }), 6)
    t.equal(await ask('question', async () => 7, value => { seen.push(value) }), 7)
    t.equal(await ask('question', async () => 8, async value => { await sleep(1); seen.push(value) }), 8)
    t.strictSame(seen, [5, 6, 7, 8])
  })

  t.test('is called once after a late success, and its failure is logged', async t => {
    const lines: unknown[] = []
    const logging = askWithin(20, 'aPlugin', { error: (...line: unknown[]) => { lines.push(line) } })
    const failure = new Error('secret')
    for (const [finish, expected] of [
      [() => {}, []],
      [async () => { throw failure }, [
        [{ err: failure, event: 'logout.outage' }, 'question succeeded after its timeout, but what follows it failed']
      ]]
    ] as const) {
      const slow = new EventEmitter()
      const seen: unknown[] = []
      const call = async () => { await once(slow, 'answer'); return 5 }
      const follow = async (value: number) => { seen.push(value); return finish() }
      await t.rejects(async () => logging('question', call, follow), Outage)
      t.strictSame(seen, [])
      slow.emit('answer')
      await sleep(1)
      t.strictSame(seen, [5])
      t.strictSame(lines, expected)
    }

    const silent = new EventEmitter()
    await t.rejects(async () => ask('question', async () => once(silent, 'answer'), () => { throw failure }), Outage)
    silent.emit('answer')
    await sleep(1)
    // Without a logger the failure must not become an unhandled rejection.
  })

  t.test('is not called after a failure, and its own failure is thrown to the caller', async t => {
    const seen: unknown[] = []
    t.throws(() => ask('question', () => { throw new Error('secret') }, () => { seen.push('finish') }), Outage)
    await t.rejects(async () => ask('question', async () => { throw new Error('secret') }, () => { seen.push('finish') }), Outage)
    const late = async () => { await sleep(30); throw new Error('late') }
    await t.rejects(async () => ask('question', late, () => { seen.push('finish') }), Outage)
    await sleep(20)
    t.strictSame(seen, [])
    const failure = new Error('what follows')
    t.throws(() => ask('question', () => 5, () => { throw failure }), failure)
    await t.rejects(async () => ask('question', async () => 5, () => { throw failure }), failure)
  })
})

t.test('while too many calls are unanswered, further calls are refused at once', async t => {
  let calls = 0
  let answer: (() => void) | undefined
  const answers = new EventEmitter().setMaxListeners(0)
  const store = async () => {
    calls++
    await new Promise<void>(resolve => {
      answer = resolve
      answers.once('all', resolve)
    })
    return 'answered'
  }
  const slow = askWithin(200, 'aPlugin')
  const outcome = async (question = 'store') => {
    try {
      return await slow(question, store)
    } catch (error) {
      return (error as Outage).cause instanceof Error ? ((error as Outage).cause as Error).message : 'no cause'
    }
  }
  const full = `${mostUnanswered} calls are unanswered`
  const burst = async (count: number) => {
    const tally: Record<string, number> = {}
    for (const name of await Promise.all(Array.from({ length: count }, async () => outcome()))) tally[name] = (tally[name] ?? 0) + 1
    return tally
  }
  t.strictSame(await burst(mostUnanswered + 500), { [full]: 500, 'no answer within 200 ms': mostUnanswered })
  t.equal(calls, mostUnanswered)
  t.strictSame(
    await burst(100), { [full]: 99, 'no answer within 200 ms': 1 },
    'one call at a time is let through, to see whether the function answers again'
  )
  t.equal(calls, mostUnanswered + 1)

  const probe = outcome()
  const another = outcome('another function')
  await sleep(1)
  t.equal(calls, mostUnanswered + 3, 'another function is not concerned')
  answers.emit('all')
  answer?.()
  t.strictSame([await probe, await another], ['answered', 'answered'])
  const later = Promise.all([outcome(), outcome(), outcome()])
  await sleep(1)
  answers.emit('all')
  t.strictSame(await later, ['answered', 'answered', 'answered'], 'when the late answers have come, calls are let through as before')
})

t.test('calls that are answered in time do not count, however they end', async t => {
  const asking = askWithin(60_000, 'aPlugin')
  for (let call = 0; call < mostUnanswered + 10; call++) {
    if (call % 2 === 0) await asking('store', async () => call)
    else await t.rejects(async () => asking('store', async () => { throw new Error('down') }), { cause: { message: 'down' } })
  }
})

t.test('calls that are overdue for a minute count as lost once a call succeeds, and not when it fails', async t => {
  const { now } = performance
  t.teardown(() => { performance.now = now })
  const asking = askWithin(20, 'aPlugin')
  await Promise.allSettled(Array.from({ length: mostUnanswered }, async () => asking('store', never)))
  performance.now = () => now.call(performance) + 61_000
  const callsAtOnce = async (work: () => Promise<unknown>) => {
    let calls = 0
    const call = async () => { calls++; return work() }
    await Promise.allSettled([asking('store', call), Promise.resolve().then(() => asking('store', call))])
    return calls
  }
  const fails = async () => { await sleep(1); throw new Error('down') }
  t.equal(await callsAtOnce(fails), 1)
  t.equal(await callsAtOnce(fails), 1, 'a failure does not show that the function works')
  t.equal(await callsAtOnce(async () => sleep(1)), 1)
  t.equal(await callsAtOnce(async () => sleep(1)), 2, 'a success does')
})

t.test('the duration of an outage is published: none for a call that throws or is refused', async t => {
  const outages: unknown[] = []
  const listener = (message: unknown) => { outages.push(message) }
  subscribe('fastify-logout:outage', listener)
  const { now } = performance
  t.teardown(() => {
    unsubscribe('fastify-logout:outage', listener)
    performance.now = now
  })
  let time = 1000
  performance.now = () => time
  const asking = askWithin(20, 'aPlugin')
  const outage = { plugin: 'aPlugin', question: 'store' }
  t.throws(() => asking('store', () => { throw new Error('down') }), Outage)
  const fails = async () => {
    await null
    time += 5
    throw new Error('down')
  }
  await t.rejects(async () => asking('store', fails), Outage)
  await t.rejects(async () => asking('store', never), Outage)
  t.match(outages.splice(0), [0, 5, 20].map(duration => ({ ...outage, duration })))

  await Promise.allSettled(Array.from({ length: mostUnanswered - 1 }, async () => asking('store', never)))
  outages.splice(0)
  const waiting = Promise.allSettled([asking('store', never)])
  t.throws(() => asking('store', never), { cause: { message: `${mostUnanswered} calls are unanswered` } })
  t.match(outages, [{ ...outage, duration: 0 }])
  await waiting
})
