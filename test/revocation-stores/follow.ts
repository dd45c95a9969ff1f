import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { revocationReplica } from '../../lib/internal/revocation/replica.ts'
import type { Credential, FollowableRevocationStore, Mark } from '../../lib/revocation-store.ts'

const until = Date.now() + 3_600_000

/** Every live mark of a store, read once. */
export async function everyMark (store: FollowableRevocationStore): Promise<Mark[]> {
  const feed = store.feed()
  const marks: Mark[] = []
  let position: string | undefined
  for (;;) {
    const page = await feed.next(position, 1)
    marks.push(...page.marks)
    position = page.position
    if (page.complete) break
  }
  feed.close()
  return marks
}

/** Waits until something holds, and fails after some seconds. */
export async function eventually (holds: () => unknown, what: string): Promise<void> {
  const end = Date.now() + 10_000
  while (await holds() !== true) {
    if (Date.now() > end) throw new Error(`never came true: ${what}`)
    await sleep(2)
  }
}

/** What a replica of any store does: it starts complete, learns what others mark, calls its listeners once, and stops. */
export async function follows (t: Test, store: FollowableRevocationStore): Promise<void> {
  const before: Mark[] = Array.from({ length: 20 }, (_, index): Mark[] => [
    { tokenId: `t${index}`, until }, { sessionId: `s${index}`, until },
    { subject: `u${index}`, tenant: 'v', cutoff: 10, except: 'kept', until }, { subject: `u${index}`, tenant: 'v', cutoff: 5, until }
  ]).flat()
  await store.revoke(...before)

  const replica = revocationReplica({ ...store, check () { throw new Error('the replica answers by itself') } })
  t.teardown(() => replica.close())
  const heard: Mark[] = []
  replica.onRevoked(mark => heard.push(mark))
  await replica.start()
  await replica.start()
  t.ok(replica.staleness() < 1000, 'it is complete when it has started')
  for (let index = 0; index < 20; index++) {
    const verdict = (facts: Credential) => replica.check(facts)
    const subject = { subject: `u${index}`, tenant: 'v' }
    const revoked = [
      { tokenId: `t${index}` }, { sessionId: `s${index}` }, { ...subject, issuedAt: 10 }, { ...subject, sessionId: 'kept', issuedAt: 5 }
    ]
    const live = [{ tokenId: `s${index}` }, { ...subject, issuedAt: 11 }, { ...subject, sessionId: 'kept', issuedAt: 6 }]
    t.same([...revoked, ...live].map(verdict), [...revoked.map(() => 'revoked'), ...live.map(() => 'live')])
  }

  heard.length = 0
  await store.revoke({ tokenId: 'elsewhere', until }, { sessionId: 't0', until })
  for (const credential of [{ tokenId: 'elsewhere' }, { sessionId: 't0' }]) {
    await eventually(() => replica.check(credential) === 'revoked', 'a mark of another node')
  }
  const here: Mark = { tokenId: 'here', until }
  await replica.revoke(here)
  t.equal(replica.check({ tokenId: 'here' }), 'revoked', 'a mark of this node is seen at once')
  await store.revoke({ tokenId: 'later', until })
  await eventually(() => replica.check({ tokenId: 'later' }) === 'revoked', 'a later mark')
  t.strictSame(heard.map(mark => Object.values(mark)[0]).sort(), ['elsewhere', 'here', 'later', 't0'], 'each listener call is made once')

  const idle = Date.now()
  await eventually(() => Date.now() - idle > 3000, 'some time')
  await eventually(() => replica.staleness() < 2000, 'it stays complete while nothing happens')
  await replica.close()
  t.throws(() => replica.check({ tokenId: 'x' }), /answers by itself/, 'a closed replica asks the store')
  t.equal(replica.check({ tokenId: 'here' }), 'revoked')
}
