import fc from 'fast-check'
import t from 'tap'
import { markSet } from '../../../lib/internal/marks/set.ts'
import type { Credential, Mark } from '../../../lib/revocation-store.ts'

const now = Date.now()
const hour = 3_600_000
const names = fc.constantFrom('a', 'b', 'c')
const perhaps = fc.option(names, { nil: undefined })
const instants = fc.integer({ min: 0, max: 6 })
const untils = fc.integer({ min: 100, max: 103 })
const someMark: fc.Arbitrary<Mark> = fc.oneof(
  fc.record({ tokenId: names, issuer: perhaps, until: untils }),
  fc.record({ sessionId: names, issuer: perhaps, until: untils }),
  fc.record({ subject: names, issuer: perhaps, tenant: perhaps, cutoff: instants, except: perhaps, until: untils })
)
const someCredential: fc.Arbitrary<Credential> = fc.record({
  tokenId: perhaps,
  sessionId: perhaps,
  subject: perhaps,
  issuer: perhaps,
  tenant: perhaps,
  issuedAt: fc.option(instants, { nil: undefined })
})

/** Whether a mark alone revokes a credential: the contract in a few lines. */
function revokes (mark: Mark, credential: Credential): boolean {
  const isSame = (marked: string | undefined, named = marked) => marked === undefined || marked === named
  if (!isSame(mark.issuer, credential.issuer)) return false
  if ('tokenId' in mark) return mark.tokenId === credential.tokenId
  if ('sessionId' in mark) return mark.sessionId === credential.sessionId
  return mark.subject === credential.subject && isSame(mark.tenant, credential.tenant) &&
    (credential.issuedAt === undefined || credential.issuedAt <= mark.cutoff) &&
    (mark.except === undefined || mark.except !== credential.sessionId)
}

t.test('any order and any repetition of marks gives the verdicts that each mark would give alone', async () => {
  const order = fc.infiniteStream(fc.nat())
  const [someMarks, someCredentials] = [fc.array(someMark, { maxLength: 8 }), fc.array(someCredential, { minLength: 5 })]
  fc.assert(fc.property(someMarks, order, someCredentials, (marks, order, credentials) => {
    const set = markSet()
    const shuffled = [...marks, ...marks].map(mark => ({ mark, rank: order.next().value })).sort((a, b) => a.rank - b.rank)
    for (const { mark } of shuffled) set.join(mark, 50)
    return credentials.every(credential => (set.check(credential, 50) === 'revoked') === marks.some(mark => revokes(mark, credential)))
  }), { numRuns: 2000 })
})

t.test('join returns true if some credential was live before the mark, and false otherwise', async () => {
  const every: Credential[] = ['a', 'b', 'c', undefined].flatMap(sessionId => ['a', 'b', 'c'].flatMap(id =>
    [0, 1, 2, 3, 4, 5, 6, 7].map(issuedAt => ({ subject: id, sessionId, issuedAt }))))
  const subjectMark = fc.record({ subject: names, cutoff: instants, except: perhaps, until: untils })
  fc.assert(fc.property(fc.array(subjectMark, { maxLength: 6 }), subjectMark, (marks, last) => {
    const set = markSet()
    for (const mark of marks) set.join(mark, 50)
    const wanted = every.some(credential => revokes(last, credential) && set.check(credential, 50) === 'live')
    return set.join(last, 50) === wanted
  }), { numRuns: 2000 })
})

t.test('marks outlive what they revoke, and then disappear', async t => {
  const set = markSet()
  set.join({ tokenId: 't', until: now + hour }, now)
  set.join({ sessionId: 's', until: now + hour }, now)
  set.join({ subject: 'u', cutoff: now, until: now + hour }, now)
  for (const credential of [{ tokenId: 't' }, { sessionId: 's' }, { subject: 'u' }]) {
    t.equal(set.check(credential, now + hour - 1), 'revoked')
    t.equal(set.check(credential, now + hour + 1000), 'live')
  }
  for (const mark of [{ tokenId: 't' }, { sessionId: 's' }, { subject: 'u', cutoff: now }]) {
    t.equal(set.join({ ...mark, until: now + 3 * hour }, now + 2 * hour), true, 'what has ended is news again')
  }
})

t.test('a mark that has ended adds nothing, not even within the second of its end', async t => {
  const marks = markSet()
  const [now, until] = [1_000_500, 1_000_400]
  for (const mark of [{ tokenId: 't', until }, { sessionId: 's', until }, { subject: 'alice', cutoff: 1, until }]) {
    t.equal(marks.join(mark, now), false, JSON.stringify(mark))
  }
  t.match(marks.size(), { subjects: 0, bytes: 0 })
})

t.test('the memory of ended marks is given back as others come', async t => {
  const set = markSet()
  for (let index = 0; index < 5000; index++) {
    set.join({ tokenId: `t${index}`, until: now + hour }, now)
    set.join({ subject: `u${index}`, cutoff: now, until: now + hour }, now)
  }
  const full = set.size()
  t.equal(full.subjects, 5000)
  for (let index = 0; index < 3000; index++) set.join({ tokenId: `later${index}`, until: now + 3 * hour }, now + 2 * hour)
  t.equal(set.size().subjects, 0)
  for (let index = 0; index < 3000; index++) set.claim(`k${index}`, now + 6 * hour, now + 5 * hour)
  t.ok(set.size().bytes < full.bytes)
  t.notOk(Array.from({ length: 3000 }, (_, index) => set.claim(`k${index}`, now + 6 * hour, now + 5 * hour)).includes(true))
})

t.test('a subject whose marks of one tenant have ended keeps those of another', async t => {
  const set = markSet()
  set.join({ subject: 'u', tenant: 'acme', cutoff: now, until: now + hour }, now)
  set.join({ subject: 'u', tenant: 'umbrella', cutoff: now, until: now + 3 * hour }, now)
  for (let index = 0; index < 100; index++) set.join({ subject: `other${index}`, cutoff: now, until: now + 3 * hour }, now + 2 * hour)
  t.equal(set.check({ subject: 'u', tenant: 'umbrella', issuedAt: now }, now + 2 * hour), 'revoked')
  t.equal(set.check({ subject: 'u', tenant: 'acme', issuedAt: now }, now + 2 * hour), 'live')
})

t.test('an id that is null or empty counts as missing', async t => {
  const set = markSet()
  set.join({ tokenId: 'null', until: now + hour }, now)
  set.join({ subject: 'u', issuer: 'null', tenant: 'null', cutoff: now, until: now + hour }, now)
  const odd = (value: unknown) => ({ tokenId: value, sessionId: value, subject: value } as Credential)
  for (const value of [null, '', undefined]) t.equal(set.check(odd(value), now), 'live')
  t.equal(set.check({ subject: 'u', issuer: null, tenant: null } as unknown as Credential, now), 'revoked')
})
