import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { revocationReplica, type RevocationReplicaOptions } from '../../../lib/internal/revocation/replica.ts'
import type { FeedPage, FollowableRevocationStore, Mark, RevocationFeed, RevocationStore } from '../../../lib/revocation-store.ts'
import { memoryRevocationStore } from '../../../lib/revocation-stores/memory.ts'
import { eventually, follows } from '../../revocation-stores/follow.ts'
import { followableMemory } from '../../revocation-stores/followable-memory.ts'

const minute = 60_000
const until = Date.now() + 60 * minute

/** A store whose feed the test plays. */
function played (t: Test, parts: Partial<RevocationStore> = {}) {
  const asked: Array<{ position: string | undefined, timeout: number }> = []
  let answer: () => Promise<FeedPage> = () => page([])
  let closed = 0
  const feed: RevocationFeed = {
    async next (position, timeout) {
      asked.push({ position, timeout })
      await sleep(1)
      return answer()
    },
    close () { closed++ }
  }
  const store: FollowableRevocationStore = { ...memoryRevocationStore(), feed: () => feed, ...parts }
  return {
    asked,
    closed: () => closed,
    play (next: () => Promise<FeedPage>) { answer = next },
    replica (options?: RevocationReplicaOptions) {
      const replica = revocationReplica(store, options)
      t.teardown(() => replica.close())
      return replica
    }
  }
}

async function page (marks: Mark[], complete = true, others: Partial<FeedPage> = {}): Promise<FeedPage> {
  return { marks, complete, position: 'p', ...others }
}

t.test('a replica of a store in memory follows', t => follows(t, followableMemory()))

t.test('it answers by itself only while it is known to be complete', async t => {
  let asked = 0
  const { play, replica: make } = played(t, { check: () => { asked++; return 'live' } })
  const replica = make({ maxStaleness: 100 })
  t.equal(replica.staleness(), Infinity)
  replica.check({ tokenId: 't' })
  t.equal(asked, 1, 'before it has started')

  play(() => page([{ tokenId: 'known', until }], false))
  await replica.start()
  replica.check({ tokenId: 't' })
  t.equal(asked, 2, 'while no page was complete')
  t.equal(replica.check({ tokenId: 'known' }), 'revoked', 'but what it knows to be revoked is revoked')
  t.equal(asked, 2)

  play(() => page([]))
  await eventually(() => replica.staleness() < 100, 'complete')
  replica.check({ tokenId: 't' })
  t.equal(asked, 2)

  play(() => Promise.reject(new Error('cut')))
  await eventually(() => replica.staleness() > 100, 'stale')
  replica.check({ tokenId: 't' })
  t.equal(asked, 3, 'after a silence')
})

t.test('the store is down: what was revoked stays revoked, nothing else is called live', async t => {
  const { play, replica: make } = played(t, { check: () => Promise.reject(new Error('down')) })
  const replica = make({ maxStaleness: 40, onError () {} })
  play(() => page([{ subject: 'u', cutoff: 10, until }]))
  await replica.start()
  play(() => Promise.reject(new Error('down')))
  await eventually(() => replica.staleness() > 40, 'stale')
  t.equal(replica.check({ subject: 'u', issuedAt: 10 }), 'revoked')
  await t.rejects(async () => replica.check({ subject: 'u', issuedAt: 11 }), { message: 'down' })
})

t.test('a feed that never resolves is closed and asked again, with the position that was reached', async t => {
  const { asked, closed, play, replica: make } = played(t)
  const errors: unknown[] = []
  const replica = make({ maxStaleness: 40, onError: error => errors.push(error) })
  play(() => page([], true, { position: 'here' }))
  await replica.start()
  play(() => new Promise(() => {}))
  await eventually(() => closed() > 0, 'given up')
  t.match(errors[0], { message: 'feed.next failed', cause: { message: 'no answer within 540 ms' } })
  const before = asked.length
  play(() => page([{ tokenId: 't', until }], true, { position: 'there' }))
  await eventually(() => replica.check({ tokenId: 't' }) === 'revoked' && replica.staleness() < 40, 'healed')
  t.equal(asked[before]?.position, 'here')
})

t.test('the first question has no position and hardly waits, the next ones wait until it is time for another proof', async t => {
  const { asked, play, replica: make } = played(t)
  const replica = make({ maxStaleness: 60_000 })
  await replica.start()
  await eventually(() => asked.length > 2, 'some questions')
  t.same(asked[0], { position: undefined, timeout: 3000 })
  t.equal(asked[1]?.position, 'p')
  t.ok(asked.slice(1).every(({ timeout }) => timeout > 30_000 && timeout <= 45_000), 'three quarters of the staleness')
  play(() => page([], false))
  const before = asked.length
  await eventually(() => asked.length > before + 20, 'questions that prove nothing')
  const last = asked.at(-1)?.timeout ?? NaN
  t.ok(last < 45_000 && last <= (asked[before + 1]?.timeout ?? NaN), 'they wait less, the older the last proof is')
})

t.test('a feed that waits as long as it may, and then proves what was true before, keeps a replica up to date', async t => {
  const { play, asked, replica: make } = played(t)
  const replica = make({ maxStaleness: 400 })
  await replica.start()
  let oldest = 0
  play(async () => {
    await sleep(asked.at(-1)?.timeout ?? 0)
    oldest = Math.max(oldest, asked.at(-1)?.timeout ?? 0)
    return page([])
  })
  const timeouts = () => asked.map(({ timeout }) => timeout)
  await eventually(() => asked.length > 5 && timeouts().slice(-4).some(timeout => timeout === 20), 'two rounds')
  t.ok(oldest <= 300, `${oldest} ms in one question`)
  t.ok(timeouts().every((timeout, index) => index < 2 || timeout + (timeouts()[index - 1] ?? 0) < 400), `${timeouts()}`)
})

t.test('marks in any order, twice, and from here and there at once, add up', async t => {
  const store = memoryRevocationStore()
  const { play, replica: make } = played(t, store)
  const replica = make()
  await replica.start()
  t.equal(await replica.revoke({ subject: 'u', cutoff: 20, until }), true)
  t.equal(await replica.revoke({ subject: 'u', cutoff: 20, until }), false)
  play(() => page([{ subject: 'u', cutoff: 10, until }, { subject: 'u', cutoff: 10, until }, { tokenId: 'done', until }]))
  await eventually(() => replica.check({ tokenId: 'done' }) === 'revoked', 'the late mark')
  t.equal(replica.check({ subject: 'u', issuedAt: 20 }), 'revoked')
  t.equal(store.check({ subject: 'u', issuedAt: 20 }), 'revoked')
  t.match(replica.size(), { subjects: 1 })
})

/** The most marks of one page that a replica takes in one turn of the event loop. */
async function mostInOneTurn (t: Test, count: number, onMark: () => void): Promise<number> {
  const { play, replica: make } = played(t)
  const replica = make({ maxStaleness: 60_000 })
  let inThisTurn = 0
  let most = 0
  replica.onRevoked(() => {
    most = Math.max(most, ++inThisTurn)
    onMark()
  })
  let turning = true
  const turn = () => {
    inThisTurn = 0
    if (turning) setImmediate(turn)
  }
  play(() => page(Array.from({ length: count }, (_, index): Mark => ({ tokenId: `t${index}`, until }))))
  setImmediate(turn)
  await replica.start()
  turning = false
  t.equal(replica.check({ tokenId: `t${count - 1}` }), 'revoked')
  return most
}

t.test('a page of any size is taken in small steps, between which the event loop turns', async t => {
  const { now } = performance
  t.teardown(() => { performance.now = now })
  performance.now = () => 1
  t.equal(await mostInOneTurn(t, 20_020, () => {}), 500, 'so many, if they take no time')
})

t.test('marks that take long are taken in smaller steps', async t => {
  const most = await mostInOneTurn(t, 500, () => {
    const end = performance.now() + 0.1
    while (performance.now() < end);
  })
  t.equal(most, 50)
})

t.test('loading takes time in proportion to the marks', async t => {
  const load = async (count: number) => {
    const { play, replica: make } = played(t)
    let from = 0
    play(() => {
      const marks = Array.from({ length: 2000 }, (_, index): Mark => ({ tokenId: `token-${from + index}`, until }))
      from += marks.length
      return page(marks, from >= count, { position: `${from}` })
    })
    const replica = make({ maxStaleness: 600_000 })
    const before = process.cpuUsage()
    await replica.start()
    const { user, system } = process.cpuUsage(before)
    t.equal(replica.check({ tokenId: `token-${count - 1}` }), 'revoked')
    await replica.close()
    return (user + system) / count
  }
  await load(20_000)
  const few = Math.max(await load(50_000), await load(50_000))
  const many = await load(400_000)
  t.ok(many < 4 * few, `${few} microseconds of CPU time for each of 50,000 marks, ${many} for each of 400,000`)
})

t.test('a feed that always has an answer at once does not hold up the event loop', async t => {
  const { replica: make } = played(t, { })
  const store = { ...followableMemory(), feed: () => ({ next: () => page([]), close () {} }) }
  t.teardown(() => make().close())
  const replica = revocationReplica(store)
  t.teardown(() => replica.close())
  await replica.start()
  const start = performance.now()
  await sleep(1)
  t.ok(performance.now() - start < 5000)
})

t.test('a mark that the store did not take is not made here either', async t => {
  const down = () => Promise.reject(new Error('down'))
  const { replica: make } = played(t, { revoke: down, revokeOnce: down })
  const replica = make()
  await replica.start()
  await t.rejects(async () => replica.revoke({ tokenId: 't', until }), { message: 'down' })
  t.equal(replica.check({ tokenId: 't' }), 'live')
  await t.rejects(async () => replica.revoke({ tokenId: '', until }), TypeError)
  await t.rejects(async () => replica.revokeOnce({ tokenId: 't' }, { tokenId: 't', until }), { message: 'down' })
  t.equal(replica.check({ tokenId: 't' }), 'live')
  await t.rejects(async () => replica.revokeOnce({ tokenId: 't' }, { tokenId: '', until }), TypeError)
})

t.test('revokeOnce is answered by the store, and its marks count here at once', async t => {
  const store = memoryRevocationStore()
  const replica = played(t, store).replica()
  await replica.start()
  const told: Mark[] = []
  replica.onRevoked(mark => told.push(mark))
  const credential = { tokenId: 't', subject: 'u', issuedAt: 10 }
  t.equal(await replica.revokeOnce(credential, { tokenId: 't', until }), true)
  t.equal(replica.check({ tokenId: 't' }), 'revoked')
  t.equal(await replica.revokeOnce(credential, { tokenId: 't', until }), false)
  t.strictSame(told, [{ tokenId: 't', until }])
  store.revoke({ subject: 'u', cutoff: 10, until })
  const ended = await replica.revokeOnce({ ...credential, tokenId: 'other' }, { tokenId: 'other', until })
  t.equal(ended, false, 'of a cutoff that the replica does not know yet')
  t.equal(store.check({ tokenId: 'other' }), 'revoked')
})

t.test('a node whose clock is ten minutes ahead or behind forgets no mark before its end', async t => {
  const { now } = Date
  t.teardown(() => Object.assign(Date, { now }))
  for (const error of [10 * minute, -10 * minute]) {
    const { play, replica: make } = played(t)
    const replica = make()
    Date.now = () => now() + error
    play(() => page([{ tokenId: 'short', until: now() + 5 * minute }], true, { now: now() }))
    await replica.start()
    await replica.revoke({ tokenId: 'own', until: now() + 5 * minute })
    play(() => page([]))
    await sleep(10)
    t.equal(replica.check({ tokenId: 'short' }), 'revoked', `${error}`)
    t.equal(replica.check({ tokenId: 'own' }), 'revoked', `${error}`)
    await replica.close()
    Object.assign(Date, { now })
  }
})

t.test('a mark that comes while the clock is ten minutes ahead is known once the clock is right again', async t => {
  const { now } = Date
  t.teardown(() => Object.assign(Date, { now }))
  const { asked, play, replica: make } = played(t)
  const replica = make()
  await replica.start()
  Date.now = () => now() + 10 * minute
  play(() => page([{ tokenId: 'short', until: now() + 5 * minute }]))
  const before = asked.length
  await eventually(() => asked.length > before + 2, 'the page with the mark')
  play(() => page([]))
  await eventually(() => asked.length > before + 4, 'pages without it')
  Object.assign(Date, { now })
  t.equal(replica.check({ tokenId: 'short' }), 'revoked')
})

t.test('a listener that throws or rejects keeps nothing from anybody', async t => {
  const errors: unknown[] = []
  const replica = played(t).replica({ onError: error => errors.push(error) })
  const heard: Mark[] = []
  replica.onRevoked(() => { throw new Error('thrown') })
  replica.onRevoked(async () => { throw new Error('rejected') })
  const stop = replica.onRevoked(mark => heard.push(mark))
  await replica.start()
  await replica.revoke({ tokenId: 't', until })
  stop()
  await replica.revoke({ tokenId: 'u', until })
  await eventually(() => errors.length === 4, 'all errors')
  t.equal(heard.length, 1)
})

t.test('an onError that throws or rejects is a warning, and the replica goes on', async t => {
  const warned = warnings(t)
  for (const onError of [() => { throw new Error('oops') }, async () => { throw new Error('oops') }]) {
    const { play, replica: make } = played(t)
    const replica = make({ maxStaleness: 100, onError })
    play(() => Promise.reject(new Error('cut')))
    await replica.start()
    play(() => page([]))
    await eventually(() => replica.staleness() < 100, 'it follows again')
    await replica.close()
  }
  t.ok(warned.length >= 2)
  t.match(warned[0], { message: /^revocationReplica: oops/ })
})

t.test('without onError the first failure after each success is a warning', async t => {
  const warned = warnings(t)
  const { play, closed, replica: make } = played(t)
  const replica = make({ maxStaleness: 50 })
  for (const why of ['down', 'down again']) {
    play(() => Promise.reject(new Error(why)))
    const before = closed()
    if (why === 'down') await replica.start()
    await eventually(() => closed() > before + 2, 'several failures')
    let pages = 0
    play(() => { pages++; return page([]) })
    await eventually(() => pages > 1, 'it follows again')
  }
  play(() => Promise.reject(new Error('after that')))
  await eventually(() => warned.length === 3, 'a third warning')
  t.match(warned.slice(0, 2), [
    {
      message: /^revocationReplica: feed\.next failed: down\. While it is not up to date, the store is asked/,
      code: 'FASTIFY_LOGOUT_REPLICA'
    },
    { message: /feed\.next failed: down again/ }
  ])
  await replica.close()

  const silent = followableMemory()
  const listening = revocationReplica({ ...silent, feed: () => ({ next: () => page([]), close () {} }) })
  t.teardown(() => listening.close())
  listening.onRevoked(() => { throw 'a text' }) // eslint-disable-line no-throw-literal
  await listening.revoke({ tokenId: 't', until })
  await eventually(() => warned.length === 4, 'a warning of a listener')
  t.match(warned[3], { message: /a text/ })
})

t.test('start never hangs, close ends everything, and both may be called twice', async t => {
  const { play, asked, replica: make } = played(t)
  play(() => Promise.reject(new Error('down')))
  const replica = make({ maxStaleness: 30, onError () {} })
  await replica.start()
  await replica.start()
  await replica.close()
  await replica.close()
  const before = asked.length
  await sleep(30)
  t.equal(asked.length, before)

  const late = played(t)
  late.play(() => sleep(50).then(() => page([{ tokenId: 'late', until }])))
  const other = late.replica({ maxStaleness: 5000 })
  const starting = other.start()
  await other.close()
  await starting
  t.equal(other.check({ tokenId: 'late' }), 'live', 'what comes after the end is not taken')

  const many = played(t)
  many.play(() => page(Array.from({ length: 2000 }, (_, index): Mark => ({ tokenId: `${index}`, until }))))
  const closing = many.replica()
  const closed: Array<Promise<void>> = []
  closing.onRevoked(() => { closed.push(closing.close()) })
  await closing.start()
  await Promise.all(closed)
  t.equal(closing.check({ tokenId: '1999' }), 'live', 'nor the rest of a page')
  t.equal(closing.staleness(), Infinity)

  let rejectNext = (_: Error) => {}
  const feed: RevocationFeed = {
    next: () => new Promise((_resolve, reject) => { rejectNext = reject }), close: () => rejectNext(new Error('closed'))
  }
  const failing = revocationReplica({ ...memoryRevocationStore(), feed: () => feed }, {
    onError: () => t.fail('its own end is no failure')
  })
  failing.start()
  await failing.close()
})

t.test('close closes the feed and waits for its last answer, and a closed replica can be started again', async t => {
  const { play, closed, replica: make } = played(t)
  const replica = make({ maxStaleness: 60_000 })
  await replica.start()
  let isAnswered = false
  play(() => sleep(50).then(() => { isAnswered = true; return page([]) }))
  await sleep(10)
  await replica.close()
  t.ok(closed() > 0)
  t.equal(isAnswered, true)

  play(() => page([{ tokenId: 'again', until }]))
  await replica.start()
  t.equal(replica.check({ tokenId: 'again' }), 'revoked')
  t.ok(replica.staleness() < 60_000)
})

t.test('staleness counts from the question, not from the answer', async t => {
  const { play, replica: make } = played(t)
  play(() => sleep(200).then(() => page([])))
  const replica = make({ maxStaleness: 60_000 })
  await replica.start()
  t.ok(replica.staleness() >= 190, `${replica.staleness()} ms`)
})

t.test('after a success the pauses begin anew', async t => {
  const { asked, play, replica: make } = played(t)
  play(() => Promise.reject(new Error('down')))
  const replica = make({ maxStaleness: 60_000, onError () {} })
  replica.start()
  await eventually(() => asked.length === 8, 'pauses of about a second')
  play(() => page([]))
  await eventually(() => replica.staleness() < 60_000, 'a success')
  let failedAt = 0
  let askedAgainAt = 0
  play(() => {
    if (failedAt > 0) askedAgainAt ||= performance.now()
    else failedAt = performance.now()
    return Promise.reject(new Error('down'))
  })
  await eventually(() => askedAgainAt > 0, 'asked again')
  t.ok(askedAgainAt - failedAt < 500, `${askedAgainAt - failedAt} ms after the failure`)
})

t.test('a feed that fails is asked again after pauses that grow', async t => {
  const { asked, play, replica: make } = played(t)
  play(() => Promise.reject(new Error('down')))
  const replica = make({ maxStaleness: 400, onError () {} })
  await replica.start()
  t.ok(asked.length >= 2 && asked.length < 20, `${asked.length} questions in 400 ms`)
})

t.test('of two clocks the one that saw more time pass counts', async t => {
  const replica = played(t, { check: () => 'revoked' }).replica({ maxStaleness: 1000 })
  await replica.start()
  t.equal(replica.check({ tokenId: 't' }), 'live')
  const { now } = Date
  Date.now = () => now() + 60_000
  t.equal(replica.check({ tokenId: 't' }), 'revoked', 'the machine slept')
  Date.now = () => now() - 60_000
  t.ok(replica.staleness() >= 0, 'the clock was set back')
  Date.now = now
})

t.test('misuse is a TypeError that says what to pass', async t => {
  const store = followableMemory()
  const stores = {
    nothing: undefined,
    'no feed': memoryRevocationStore(),
    'no check': { ...store, check: 1 },
    'no revoke': { ...store, revoke: 1 },
    'no revokeOnce': { ...store, revokeOnce: 1 }
  }
  for (const [name, wrong] of Object.entries(stores)) {
    t.throws(() => revocationReplica(wrong as unknown as FollowableRevocationStore),
      { name: 'TypeError', message: /^revocationReplica: pass a revocation store that has feed\(\), for example/ }, name)
  }
  for (const [option, options] of Object.entries({ maxStaleness: { maxStaleness: 0 }, onError: { onError: 1 } })) {
    const misuse = options as unknown as RevocationReplicaOptions
    t.throws(() => revocationReplica(store, misuse), { name: 'TypeError', message: new RegExp(`revocationReplica: option "${option}"`) })
  }
})

interface Warning extends Error { readonly code?: string }

function warnings (t: Test): Warning[] {
  const warned: Warning[] = []
  const hear = (warning: Warning) => { if (warning.name === 'FastifyLogoutWarning') warned.push(warning) }
  process.on('warning', hear)
  t.teardown(() => process.off('warning', hear))
  return warned
}
