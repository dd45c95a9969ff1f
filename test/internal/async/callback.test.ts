import t from 'tap'

import { callBack, valueOf, type Callback } from '../../../lib/internal/async/callback.ts'

const failure = new Error('down')

t.test('valueOf returns the value of a synchronous callback, and a promise for a later one', async t => {
  t.equal(valueOf(callback => callback(null, 1)), 1)
  t.equal(valueOf(callback => callback()), undefined)
  t.throws(() => valueOf(callback => callback(failure)), failure)
  t.equal(await valueOf(callback => setImmediate(callback, null, 1)), 1)
  await t.rejects(Promise.resolve(valueOf(callback => setImmediate(callback, failure))), failure)
})

t.test('only the first call counts, synchronous or not', async t => {
  t.equal(valueOf(callback => { callback(null, 1); callback(failure); callback(null, 2) }), 1)
  t.throws(() => valueOf(callback => { callback(failure); callback(null, 2) }), failure)
  t.equal(await valueOf(callback => setImmediate(() => { callback(null, 1); callback(failure) })), 1)
  t.equal(valueOf(callback => { callback(null, undefined); callback(null, 2) }), undefined)
})

t.test('an error that the function throws counts as its error', async t => {
  t.throws(() => valueOf(() => { throw failure }), failure)
})

/** Calls back and notes the values, and whether that was synchronous. */
async function noted (work: () => unknown) {
  let isLater = false
  return new Promise(resolve => {
    const answer = callBack((...values) => resolve({ values, isLater }), work)
    isLater = true
    if (answer !== undefined) resolve('a promise')
  })
}

t.test('callBack calls synchronously with a plain value or error, and later with a promise', async t => {
  t.same(await noted(() => 1), { values: [null, 1], isLater: false })
  t.same(await noted(() => { throw failure }), { values: [failure], isLater: false })
  t.same(await noted(async () => 1), { values: [null, 1], isLater: true })
  t.same(await noted(async () => { throw failure }), { values: [failure], isLater: true })
})

t.test('an error thrown by the callback is not passed to the callback', async t => {
  let calls = 0
  const faulty: Callback = () => { calls++; throw failure }
  t.throws(() => callBack(faulty, () => 1), failure)
  t.equal(calls, 1)
  const uncaught = t.capture(process, 'emit', () => true)
  callBack(faulty, async () => 1)
  for (let turn = 0; turn < 3; turn++) await new Promise(resolve => setImmediate(resolve))
  uncaught.restore()
  const events = uncaught().map(({ args: [name] }) => name)
  t.same(events.filter(name => name === 'uncaughtException' || name === 'unhandledRejection'), ['uncaughtException'])
  t.equal(calls, 2)
})

t.test('without a callback it returns a promise, whose rejection need not be handled', async t => {
  const unhandled: unknown[] = []
  const listener = (error: unknown) => unhandled.push(error)
  process.on('unhandledRejection', listener)
  t.teardown(() => process.off('unhandledRejection', listener))
  t.equal(await callBack(undefined, () => 1), 1)
  callBack(undefined, () => { throw failure })
  callBack(undefined, () => Promise.reject(failure))
  await t.rejects(Promise.resolve(callBack(undefined, () => { throw failure })), failure)
  await new Promise(resolve => setImmediate(resolve))
  t.same(unhandled, [])
})
