import fc from 'fast-check'
import t from 'tap'
import { type Cutoff, cutoffOf, isCutOff, isSameCutoff, joinCutoffs } from '../../../lib/internal/marks/cutoff.ts'

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

t.test('the cutoff of a mark without an exception holds for every session', async t => {
  t.same(cutoffOf({ cutoff: 1, until: 2 }), { at: 1, except: undefined, exceptAt: 1, until: 2 })
  t.equal(isCutOff(cutoffOf({ cutoff: 1, until: 2 }), { sessionId: 'undefined', issuedAt: 1 }, 0), true)
  t.equal(isCutOff(cutoffOf({ cutoff: 1, except: 'undefined', until: 2 }), { issuedAt: 1 }, 0), true)
})

t.test('two cutoffs are the same if they revoke the same, whenever they end', async t => {
  const cutoff = { at: 2, except: 'a', exceptAt: 1, until: 3 }
  t.equal(isSameCutoff(cutoff, { ...cutoff, until: 4 }), true)
  for (const other of [{ at: 3 }, { except: 'b' }, { except: undefined }, { exceptAt: 2 }]) {
    t.equal(isSameCutoff(cutoff, { ...cutoff, ...other }), false)
  }
})
