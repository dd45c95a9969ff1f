import t from 'tap'

import { lifetimeOf } from '../../../lib/internal/plugin/options.ts'

t.test('a lifetime may be longer than a timer can hold, and is a positive number of at most a hundred years', async t => {
  t.equal(lifetimeOf(undefined, 7, 'caller', 'lifetime'), 7)
  for (const value of [1, 0.5, 30 * 86_400_000, 100 * 365.25 * 86_400_000]) t.equal(lifetimeOf(value, 7, 'caller', 'lifetime'), value)
  for (const value of [0, -1, NaN, Infinity, Number.MAX_SAFE_INTEGER, '1', null] as number[]) {
    const message = /^caller: option "lifetime" must be a positive number of milliseconds/
    t.throws(() => lifetimeOf(value, 7, 'caller', 'lifetime'), { name: 'TypeError', message })
  }
})
