import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { askWithin, Outage } from '../../../lib/internal/plugin/ask.ts'
import { TokenRejectedError } from '../../../lib/token-verifier.ts'

const ask = askWithin(20, 'aPlugin')

t.test('a plain value is handed back without a promise', async t => {
  for (const value of ['text', 0, null, undefined, { then: 'is no function' }]) t.equal(ask('question', () => value), value)
})

t.test('a promise and a thenable are awaited', async t => {
  t.equal(await ask('question', async () => 5), 5)
  t.equal(await ask('question', () => ({ then: (resolve: (value: number) => void) => { resolve(5) } }) as PromiseLike<number>), 5)
})

t.test('what fails or is late is an outage that keeps the cause', async t => {
  const cause = new Error('secret')
  const outage = { name: 'Outage', message: 'question failed', cause }
  t.throws(() => ask('question', () => { throw cause }), outage)
  await t.rejects(async () => ask('question', async () => { throw cause }), outage)
  await t.rejects(async () => ask('question', () => ({ then: () => { throw cause } }) as PromiseLike<never>), outage)
  await t.rejects(async () => ask('question', () => new Promise(() => {})), { ...outage, cause: new Error('no answer within 20 ms') })
})

t.test('a rejected token is an answer, no outage', async t => {
  const rejection = new TokenRejectedError('expired')
  for (const answer of [() => { throw rejection }, async () => { throw rejection }]) {
    await t.rejects(async () => ask('question', answer), rejection)
  }
})

t.test('a rejection after the timeout goes unnoticed, and a timer is not left behind', async t => {
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
