import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { revocationReplica, type RevocationReplicaOptions } from '../../../lib/internal/revocation/replica.ts'
import type { FeedPage, Mark, RevocationFeed, Verdict } from '../../../lib/revocation-store.ts'
import { memoryRevocationStore } from '../../../lib/revocation-stores/memory.ts'
import { eventually } from '../../revocation-stores/follow.ts'

const until = Date.now() + 3_600_000

/** A feed in which the test plays the server. */
function playedFeed () {
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
  return { feed, asked, closed: () => closed, play (next: () => Promise<FeedPage>) { answer = next } }
}

async function page (marks: Mark[], complete = true, position = 'p'): Promise<FeedPage> {
  return { marks, complete, position }
}

function storeThat (check: () => Verdict | Promise<Verdict>) {
  return { ...memoryRevocationStore(), check }
}

t.test('it answers by itself only while it is known to be complete', async t => {
  const { feed, play } = playedFeed()
  let asked = 0
  const replica = revocationReplica({ store: storeThat(() => { asked++; return 'live' }), feed, maxStaleness: 100 })
  t.teardown(() => replica.close())
  t.equal(replica.staleness(), Infinity)
  replica.check({ tokenId: 't' })
  t.equal(asked, 1, 'before it has started')

  play(() => page([{ tokenId: 'known', until }], false))
  await replica.start()
  replica.check({ tokenId: 't' })
  t.equal(asked, 2, 'while it is still loading')
  t.equal(replica.check({ tokenId: 'known' }), 'revoked', 'but what it knows to be dead is dead')
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
  const { feed, play } = playedFeed()
  const replica = revocationReplica({ store: storeThat(() => Promise.reject(new Error('down'))), feed, maxStaleness: 40 })
  t.teardown(() => replica.close())
  play(() => page([{ subject: 'u', cutoff: 10, until }]))
  await replica.start()
  play(() => Promise.reject(new Error('down')))
  await eventually(() => replica.staleness() > 40, 'stale')
  t.equal(replica.check({ subject: 'u', issuedAt: 10 }), 'revoked')
  await t.rejects(async () => replica.check({ subject: 'u', issuedAt: 11 }), { message: 'down' })
})

t.test('a feed that never answers is opened anew, and goes on where it was', async t => {
  const { feed, asked, closed, play } = playedFeed()
  const errors: unknown[] = []
  const replica = revocationReplica({ store: memoryRevocationStore(), feed, maxStaleness: 40, onError: error => errors.push(error) })
  t.teardown(() => replica.close())
  play(() => page([], true, 'here'))
  await replica.start()
  play(() => new Promise(() => {}))
  await eventually(() => closed() > 0, 'given up')
  t.match(errors[0], { message: 'feed.next failed', cause: { message: /no answer within/ } })
  const before = asked.length
  play(() => page([{ tokenId: 't', until }], true, 'there'))
  await eventually(() => replica.check({ tokenId: 't' }) === 'revoked' && replica.staleness() < 40, 'healed')
  t.equal(asked[before]?.position, 'here')
})

t.test('it waits for news when it is complete, and hurries when it is not', async t => {
  const { feed, asked, play } = playedFeed()
  const replica = revocationReplica({ store: memoryRevocationStore(), feed, maxStaleness: 400 })
  t.teardown(() => replica.close())
  let pages = 0
  play(() => page([], ++pages > 2))
  await replica.start()
  await eventually(() => asked.length > 4, 'some questions')
  t.same(asked.slice(0, 4).map(({ timeout }) => timeout), [1, 1, 1, 100])
  t.equal(asked[0]?.position, undefined)
})

t.test('marks in any order, twice, and from here and there at once, are joined', async t => {
  const { feed, play } = playedFeed()
  const store = memoryRevocationStore()
  const replica = revocationReplica({ store, feed })
  t.teardown(() => replica.close())
  await replica.start()
  await replica.revoke({ subject: 'u', cutoff: 20, until })
  play(() => page([{ subject: 'u', cutoff: 10, until }, { subject: 'u', cutoff: 10, until }, { tokenId: 'done', until }]))
  await eventually(() => replica.check({ tokenId: 'done' }) === 'revoked', 'the late mark')
  t.equal(replica.check({ subject: 'u', issuedAt: 20 }), 'revoked')
  t.equal(store.check({ subject: 'u', issuedAt: 20 }), 'revoked')
  t.match(replica.size(), { subjects: 1 })
})

t.test('a mark that the store did not take is not made here either', async t => {
  const { feed } = playedFeed()
  const replica = revocationReplica({ store: { ...memoryRevocationStore(), revoke: () => Promise.reject(new Error('down')) }, feed })
  t.teardown(() => replica.close())
  await replica.start()
  await t.rejects(async () => replica.revoke({ tokenId: 't', until }), { message: 'down' })
  t.equal(replica.check({ tokenId: 't' }), 'live')
  await t.rejects(async () => replica.revoke({ tokenId: '', until }), TypeError)
})

t.test('a listener that throws keeps nothing from anybody', async t => {
  const { feed } = playedFeed()
  const errors: unknown[] = []
  const replica = revocationReplica({ store: memoryRevocationStore(), feed, onError: error => errors.push(error) })
  t.teardown(() => replica.close())
  const heard: Mark[] = []
  replica.onRevoked(() => { throw new Error('oops') })
  const stop = replica.onRevoked(mark => heard.push(mark))
  await replica.revoke({ tokenId: 't', until })
  stop()
  await replica.revoke({ tokenId: 'u', until })
  t.same([heard.length, errors.length], [1, 2])
})

t.test('start never hangs, close ends everything, and both may be called twice', async t => {
  const { feed, play, asked } = playedFeed()
  play(() => Promise.reject(new Error('down')))
  const replica = revocationReplica({ store: memoryRevocationStore(), feed, maxStaleness: 30 })
  await replica.start()
  await replica.close()
  await replica.close()
  const before = asked.length
  await sleep(30)
  t.equal(asked.length, before)

  const { feed: silent } = playedFeed()
  const other = revocationReplica({ store: memoryRevocationStore(), feed: { ...silent, next: () => sleep(50).then(() => page([{ tokenId: 'late', until }])) }, maxStaleness: 5000 })
  const starting = other.start()
  await other.close()
  await starting
  t.equal(other.check({ tokenId: 'late' }), 'live', 'what comes after the end is not taken')

  let rejectNext = (_: Error) => {}
  const failing = revocationReplica({ store: memoryRevocationStore(), feed: { next: () => new Promise((_resolve, reject) => { rejectNext = reject }), close: () => rejectNext(new Error('closed')) } })
  failing.start()
  await failing.close()
})

t.test('of two clocks the one that saw more time pass counts', async t => {
  const { feed } = playedFeed()
  const replica = revocationReplica({ store: storeThat(() => 'revoked'), feed, maxStaleness: 1000 })
  t.teardown(() => replica.close())
  await replica.start()
  t.equal(replica.check({ tokenId: 't' }), 'live')
  const { now } = Date
  Date.now = () => now() + 60_000
  t.equal(replica.check({ tokenId: 't' }), 'revoked', 'the machine slept')
  Date.now = () => now() - 60_000
  t.ok(replica.staleness() >= 0, 'the clock was set back')
  Date.now = now
})

t.test('misuse is a TypeError that names the option', async t => {
  const { feed } = playedFeed()
  const store = memoryRevocationStore()
  for (const [option, options] of Object.entries({ store: { feed }, feed: { store }, maxStaleness: { store, feed, maxStaleness: 0 }, onError: { store, feed, onError: 1 } })) {
    t.throws(() => revocationReplica(options as unknown as RevocationReplicaOptions), { name: 'TypeError', message: new RegExp(`"${option}"`) })
  }
})
