import t from 'tap'

import { after, isPromise, recovered } from '../../../lib/internal/async/awaitable.ts'

t.test('isPromise recognises every value with a method "then"', async t => {
  for (const value of [Promise.resolve(), { then: () => {} } as PromiseLike<void>]) t.ok(isPromise(value))
  for (const value of [undefined, null, 0, 'then', {}, { then: true }, () => {}]) t.notOk(isPromise(value))
})

t.test('after continues synchronously with a value, and later with a promise', async t => {
  t.equal(after(1, value => value + 1), 2)
  t.equal(await after(Promise.resolve(1), value => value + 1), 2)
  t.throws(() => after(1, () => { throw new Error('next') }), { message: 'next' })
  await t.rejects(Promise.resolve(after(Promise.reject(new Error('first')), () => 2)), { message: 'first' })
})

t.test('recovered continues after an error, synchronously if it was thrown', async t => {
  const failure = new Error('down')
  t.equal(recovered(() => 1, () => 2), 1)
  t.equal(recovered(() => { throw failure }, error => error), failure)
  t.equal(await recovered(async () => 1, () => 2), 1)
  t.equal(await recovered(() => Promise.reject(failure), error => error), failure)
  t.throws(() => recovered(() => { throw failure }, cause => { throw new Error('worse', { cause }) }), { message: 'worse', cause: failure })
  const rejection = recovered(() => Promise.reject(failure), cause => { throw new Error('worse', { cause }) })
  await t.rejects(Promise.resolve(rejection), { message: 'worse', cause: failure })
})
