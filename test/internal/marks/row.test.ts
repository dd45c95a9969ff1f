import fc from 'fast-check'
import t from 'tap'
import { isRevokedBy, markOfRow, questionOf, rowOfMark, rowsOfMarks } from '../../../lib/internal/marks/row.ts'
import { markSet } from '../../../lib/internal/marks/set.ts'
import type { Credential, Mark } from '../../../lib/revocation-store.ts'
import { tokenDigest } from '../../../lib/token-digest.ts'

const long = 'x'.repeat(200)
const names = fc.constantFrom('a', 'b', '#', `#${tokenDigest(long)}`, long)
const perhaps = fc.option(names, { nil: undefined })
const instants = fc.integer({ min: 0, max: 6 })
const untils = fc.integer({ min: 48, max: 103 })
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
  issuedAt: fc.option(fc.oneof(instants, fc.double()), { nil: undefined }),
  loggedInAt: fc.option(instants, { nil: undefined })
})

t.test('rows give the verdicts that the marks in memory give', async () => {
  fc.assert(fc.property(fc.array(someMark, { maxLength: 8 }), someCredential, (marks, credential) => {
    const set = markSet()
    for (const mark of marks) set.join(mark, 50)
    const question = questionOf(credential)
    const found = rowsOfMarks(marks, 50).filter(({ id }) => question.ids.includes(id))
    return found.some(row => isRevokedBy(row, question, 50)) === (set.check(credential, 50) === 'revoked')
  }), { numRuns: 3000 })
})

t.test('a mark that is read back from its row is the same mark for every store', async () => {
  fc.assert(fc.property(someMark, mark => {
    const row = rowOfMark(mark)
    return JSON.stringify(rowOfMark(markOfRow(row))) === JSON.stringify(row)
  }))
})

t.test('a mark whose ids are plain is read back as it was', async t => {
  const until = 9
  const marks: Mark[] = [
    { tokenId: 't', until }, { sessionId: 's', issuer: 'i', until }, { subject: 'u', cutoff: 3, until },
    { subject: 'u', tenant: 'v', cutoff: 3, except: 's', issuer: 'i', until }
  ]
  for (const mark of marks) t.strictSame(markOfRow(rowOfMark(mark)), mark)
  t.strictSame(markOfRow(rowOfMark({ tokenId: long, until })), { tokenId: `#${tokenDigest(long)}`, until, digested: true })
  t.strictSame(markOfRow(rowOfMark({ subject: 'u', tenant: long, cutoff: 1, until })), {
    subject: 'u', tenant: `#${tokenDigest(long)}`, cutoff: 1, until, digested: true
  })
})

t.test('marks of one key become one row, in an order of their own, and ended ones none', async t => {
  const rows = rowsOfMarks([
    { tokenId: 't', until: 60 },
    { subject: 'u', cutoff: 3, until: 60 },
    { subject: 'u', cutoff: 5, until: 55 },
    { sessionId: 's', until: 50 },
    { subject: 'u', cutoff: 9, except: 's', until: 60 },
    { tokenId: 't', issuer: 'i', until: 60 }
  ], 50)
  t.strictSame(rows.map(({ id, issuer, except, cutoff, until }) => [id, issuer, except, cutoff, until]), [
    ['tt', '', '', Number.MAX_SAFE_INTEGER, 60], ['tt', 'i', '', Number.MAX_SAFE_INTEGER, 60], ['uu', '', '', 5, 60], ['uu', '', 's', 9, 60]
  ])
})

t.test('instants of any kind become whole numbers that a database can compare', async t => {
  const instant = (issuedAt: number | undefined, loggedInAt?: number) => questionOf({ issuedAt, loggedInAt }).issuedAt
  t.equal(instant(999.5), 1000)
  t.same([undefined, NaN, -Infinity].map(value => instant(value)), Array(3).fill(Number.MIN_SAFE_INTEGER))
  t.same([Infinity, 1e300].map(value => instant(value)), Array(2).fill(Number.MAX_SAFE_INTEGER))
  t.equal(instant(5, 3), 3)
  t.equal(instant(5, NaN), Number.MIN_SAFE_INTEGER)
  t.strictSame(questionOf({ tokenId: '', sessionId: null, subject: 7 } as unknown as Credential).ids, ['u7'])
})
