import fc from 'fast-check'
import t from 'tap'
import { cutoffTable } from '../../../lib/internal/marks/cutoff-table.ts'
import { markId } from '../../../lib/internal/marks/id.ts'
import type { KeyedHash } from '../../../lib/internal/marks/keyed-hash.ts'
import type { SubjectMark } from '../../../lib/revocation-store.ts'

const now = Date.now()
const hour = 3_600_000

t.test('instants of any size are kept exactly', async t => {
  fc.assert(fc.property(fc.maxSafeInteger().filter(at => at > Number.MIN_SAFE_INTEGER && at < Number.MAX_SAFE_INTEGER), cutoff => {
    const table = cutoffTable()
    table.join({ subject: 'alice', cutoff, except: 'own', until: now + hour }, now)
    table.join({ subject: 'alice', cutoff: cutoff - 1, until: now + hour }, now)
    const isRevoked = (issuedAt: number, sessionId?: string) => table.isRevoked('alice', { issuedAt, sessionId }, now)
    return isRevoked(cutoff) && !isRevoked(cutoff + 1) && isRevoked(cutoff - 1, 'own') && !isRevoked(cutoff, 'own')
  }))
})

t.test('an excepted session that is not named again stays excepted', async t => {
  const table = cutoffTable()
  t.equal(table.join({ subject: 'alice', cutoff: 10, except: 'own', until: now + hour }, now), true)
  t.equal(table.join({ subject: 'alice', cutoff: 5, except: 'other', until: now + hour }, now), true)
  t.equal(table.join({ subject: 'alice', cutoff: 5, until: now + 2 * hour }, now), false)
  t.equal(table.isRevoked('alice', { sessionId: 'own', issuedAt: 10 }, now), false)
  t.equal(table.isRevoked('alice', { sessionId: 'own', issuedAt: 5 }, now), true)
  t.equal(table.isRevoked('alice', { sessionId: 'other', issuedAt: 10 }, now), true)
  t.equal(table.isRevoked('alice', { issuedAt: 10 }, now), true)
})

t.test('each issuer and tenant of a subject has its cutoff, and those that ended make room', async t => {
  const table = cutoffTable()
  const mark = (scope: Partial<SubjectMark>, until = now + hour): SubjectMark => ({ subject: 'alice', cutoff: 10, until, ...scope })
  table.join(mark({ issuer: 'a', tenant: 'acme' }), now)
  table.join(mark({ issuer: 'b', tenant: 'acme' }, now + 3 * hour), now)
  t.equal(table.count(), 2)
  const isRevoked = (issuer: string, tenant: string, at = now) => table.isRevoked('alice', { issuer, tenant, issuedAt: 10 }, at)
  t.same([isRevoked('a', 'acme'), isRevoked('b', 'acme'), isRevoked('c', 'acme'), isRevoked('a', 'umbrella')], [true, true, false, false])
  t.same([isRevoked('a', 'acme', now + 2 * hour), isRevoked('b', 'acme', now + 2 * hour)], [false, true])
  t.equal(table.isRevoked('alice', { issuedAt: 10 }, now), true, 'a credential without issuer and tenant')
})

t.test('subjects whose fingerprints differ in one word only are kept apart', async t => {
  const poor: KeyedHash = (kind, text, out) => {
    out.set([0xffff_ffff, 0, kind * 1000 + text.charCodeAt(0)])
    return true
  }
  const table = cutoffTable(poor)
  table.join({ subject: 'alice', cutoff: 10, until: now + hour }, now)
  t.equal(table.isRevoked('alice', { issuedAt: 10 }, now), true)
  t.equal(table.isRevoked('bob', { issuedAt: 10 }, now), false)
  table.join({ subject: 'bob', cutoff: 20, until: now + hour }, now)
  t.equal(table.isRevoked('alice', { issuedAt: 20 }, now), false)
  t.equal(table.isRevoked('bob', { issuedAt: 20 }, now), true)
})

t.test('an id and its stored form in a mark of a store are one', async t => {
  const table = cutoffTable()
  const long = 'alice'.repeat(100)
  table.join({ subject: markId(long), tenant: markId(long), except: markId(long), cutoff: 10, until: now + hour, digested: true }, now)
  t.equal(table.isRevoked(long, { tenant: long, issuedAt: 10 }, now), true)
  t.equal(table.isRevoked(long, { tenant: long, sessionId: long, issuedAt: 10 }, now), false)
  t.equal(table.isRevoked(markId(long), { issuedAt: 10 }, now), false, 'nobody can spell the stored form of another id')
})

t.test('a hundred thousand cutoffs take at most 136 bytes each, and are given back after their end', async t => {
  const table = cutoffTable()
  const count = 100_000
  for (let index = 0; index < count; index++) table.join({ subject: `user-${index}`, cutoff: 10, until: now + hour }, now)
  t.ok(table.size() / count <= 136, `${table.size() / count} bytes`)
  let found = 0
  for (let index = 0; index < count; index++) if (table.isRevoked(`user-${index}`, { issuedAt: 10 }, now)) found++
  t.equal(found, count)
  for (let call = 0; call < count; call++) table.sweep(now + 2 * hour)
  t.equal(table.count(), 0)
})
