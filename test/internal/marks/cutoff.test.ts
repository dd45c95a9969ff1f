import fc from 'fast-check'
import t from 'tap'
import { cutoffOf, isCutOff, joinCutoffs, type Cutoff } from '../../../lib/internal/marks/cutoff.ts'

const names = fc.constantFrom('a', 'b', 'c')
const instants = fc.integer({ min: 0, max: 6 })
const marks = fc.record({ cutoff: instants, except: fc.option(names, { nil: undefined }), until: fc.integer({ min: 100, max: 103 }) })

t.test('joining cutoffs is commutative, associative and idempotent', async () => {
  const cutoffs = marks.map(cutoffOf)
  const same = (x: Cutoff, y: Cutoff) => JSON.stringify(x) === JSON.stringify(y)
  fc.assert(fc.property(cutoffs, cutoffs, cutoffs, (a, b, c) => {
    const isAssociative = same(joinCutoffs(joinCutoffs(a, b), c), joinCutoffs(a, joinCutoffs(b, c)))
    return isAssociative && same(joinCutoffs(a, b), joinCutoffs(b, a)) && same(joinCutoffs(a, a), a)
  }))
})

t.test('joined cutoffs revoke what one of the marks revokes', async () => {
  const credentials = fc.record({
    sessionId: fc.option(names, { nil: undefined }),
    issuedAt: fc.option(instants, { nil: undefined }),
    loggedInAt: fc.option(instants, { nil: undefined })
  })
  fc.assert(fc.property(fc.array(marks, { minLength: 1, maxLength: 6 }), credentials, (marks, credential) => {
    const joined = marks.map(cutoffOf).reduce(joinCutoffs)
    const instant = credential.loggedInAt ?? credential.issuedAt ?? -1
    const revoked = marks.some(({ cutoff, except }) => instant <= cutoff && (except === undefined || except !== credential.sessionId))
    return isCutOff(joined, credential, 99) === revoked
  }), { numRuns: 2000 })
})

t.test('a cutoff ends with the last of its marks', async t => {
  const joined = joinCutoffs(cutoffOf({ cutoff: 5, until: 100 }), cutoffOf({ cutoff: 3, until: 200 }))
  t.equal(isCutOff(joined, { issuedAt: 5 }, 199), true)
  t.equal(isCutOff(joined, { issuedAt: 5 }, 200), false)
})
