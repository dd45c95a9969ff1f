import t from 'tap'
import { assertRevocations, subjectMark } from '../../../lib/internal/session-logout/marks.ts'

t.test('a subject mark covers everything until now, except one session, as long as anything of it could be accepted', async t => {
  const before = Date.now()
  const mark = subjectMark({ subject: 'alice', tenant: 'acme', except: 's1' }, { lifetime: 1000.5, clockTolerance: 100 })
  t.match(mark, { subject: 'alice', tenant: 'acme', except: 's1' })
  t.ok('cutoff' in mark && mark.cutoff >= before + 100 && mark.cutoff <= Date.now() + 100)
  t.ok('cutoff' in mark && mark.until === mark.cutoff + 1101)
})

t.test('numbers are their text, and what is not given is not there', async t => {
  t.strictSame(Object.keys(subjectMark({ subject: 0 }, { lifetime: 1 })), ['subject', 'cutoff', 'until'])
  t.match(subjectMark({ subject: 0, except: 0 }, { lifetime: 1 }), { subject: '0', except: '0' })
})

t.test('a revocation store that is missing, or can only do two thirds of it, is a TypeError', async t => {
  const [check, revoke, revokeOnce] = [() => 'live', () => true, () => true]
  for (const wrong of [undefined, null, {}, { check, revoke }, { check, revokeOnce }, { revoke, revokeOnce }]) {
    t.throws(() => assertRevocations(wrong as never, 'aSource'), { name: 'TypeError', message: 'aSource: option "revocations" is missing' })
  }
})
