import t from 'tap'

import type { JwkSet } from '../../../lib/internal/jose/jwk-set.ts'
import { fetchAllowance, keySource } from '../../../lib/internal/jose/key-source.ts'

const set: JwkSet = { find: () => undefined }

t.test('it fetches once at a time, counts its fetches, and knows how old its keys are', async t => {
  let now = 1000
  t.intercept(performance, 'now', { value: () => now })
  t.intercept(Date, 'now', { value: () => 5000 + now })
  const source = keySource('https://issuer.example', async () => set, 1000)
  t.same([source.isLoaded(), source.isFetching(), source.age(), source.loadedAt(), source.begun()], [false, false, Infinity, -Infinity, 0])
  t.equal(source.find(() => 'found'), undefined)
  const fetches = [source.fetch(), source.fetch()]
  t.same([source.isFetching(), source.begun()], [true, 1])
  now += 10
  t.same(await Promise.all(fetches), [1, 1])
  t.same([source.isLoaded(), source.isFetching(), source.age(), source.loadedAt(), source.begun()], [true, false, 10, 6000, 1])
  t.equal(source.find(keys => keys), set)
  t.equal(await source.fetch(), 2)
  t.equal(source.age(), 0)
})

t.test('after a failure the keys and their age stay, assertFetched throws, and the next fetch waits', async t => {
  let now = 1000
  let isDown = false
  const cause = new Error('down')
  t.intercept(performance, 'now', { value: () => now })
  const source = keySource('https://issuer.example', async () => { if (isDown) throw cause; return set }, 1000)
  await source.fetch()
  source.assertFetched()
  isDown = true
  now += 10
  await source.fetch()
  t.ok(source.hasFailed())
  t.throws(() => source.assertFetched(), { message: 'the keys of https://issuer.example could not be fetched', cause })
  t.same([source.isLoaded(), source.age(), source.begun()], [true, 10, 2])
  now += 999
  await source.fetch()
  t.equal(source.begun(), 2, 'it pauses')
  isDown = false
  now += 1
  await source.fetch()
  t.same([source.hasFailed(), source.age(), source.begun()], [false, 0, 3])
  source.assertFetched()
})

t.test('a loader that throws instead of rejecting fails like any other, and is asked again', async t => {
  const source = keySource('https://issuer.example', () => { throw new Error('down') }, 0)
  await source.fetch()
  t.ok(source.hasFailed())
  t.notOk(source.isFetching())
  await source.fetch()
  t.equal(source.begun(), 2)
})

t.test('so many fetches are allowed in a row, and one more for each interval', async t => {
  let now = 1000
  t.intercept(performance, 'now', { value: () => now })
  const allowance = fetchAllowance(10, 100)
  const useAll = () => {
    let used = 0
    for (; allowance.isLeft(); used++) allowance.use()
    return used
  }
  t.equal(useAll(), 10)
  now += 99
  t.equal(useAll(), 0)
  now += 1
  t.equal(useAll(), 1)
  now += 250
  t.equal(useAll(), 2)
  now += 10_000
  t.equal(useAll(), 10, 'no more than ten are saved up')
  const one = fetchAllowance(1, 100)
  one.use()
  t.notOk(one.isLeft())
  now += 100
  t.ok(one.isLeft())
})
