import t from 'tap'

import { expiringCache } from '../../../lib/internal/collections/expiring-cache.ts'

t.test('a value is kept until its time', async (t) => {
  const cache = expiringCache<string>(10)
  cache.set('future', 'a', Date.now() + 60_000)
  cache.set('past', 'b', Date.now() - 1)
  t.equal(cache.get('future'), 'a')
  t.equal(cache.get('past'), undefined)
  t.equal(cache.get('never'), undefined)
})

t.test('the oldest value is removed when there are too many, and a value that is set again is the newest', async (t) => {
  const cache = expiringCache<number>(2)
  const later = Date.now() + 60_000
  cache.set('a', 1, later)
  cache.set('b', 2, later)
  cache.set('a', 3, later)
  cache.set('c', 4, later)
  t.same(['a', 'b', 'c'].map(key => cache.get(key)), [3, undefined, 4])
})

t.test('a value is deleted at its time', async t => {
  const now = Date.now
  t.teardown(() => { Date.now = now })
  Date.now = () => 1000
  const cache = expiringCache<string>(10)
  cache.set('a', 'value', 2000)
  Date.now = () => 1999
  t.equal(cache.get('a'), 'value')
  Date.now = () => 2000
  t.equal(cache.get('a'), undefined)
  Date.now = () => 1000
  t.equal(cache.get('a'), undefined, 'it was deleted')
})
