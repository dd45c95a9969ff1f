import t from 'tap'
import { sessionLogouts } from '../../../lib/internal/records/session-logouts.ts'
import { tokenDigest } from '../../../lib/token-digest.ts'

const row = { id: '1', subject: 'alice', created_at: '1', expires_at: '2', keep_until: 3n, details: '{}', active: 1 }
const session = { id: '1', subject: 'alice', status: 'active', createdAt: 1, expiresAt: 2, keepUntil: 3 }

t.test('a session is asked for by the digest of its token, or by its id, and returned as it was before', async t => {
  const asked: unknown[] = []
  const answer = (found: object | undefined) => async (question: unknown) => {
    asked.push(question)
    return found as never
  }
  const known = sessionLogouts({ byToken: answer(row), byId: answer({ ...row, active: '0' }) })
  t.match(await known.logOut('secret'), session)
  t.match(await known.logOutById({ id: '1', subject: 'alice' }), { ...session, status: 'logged_out' })
  t.strictSame(asked, [tokenDigest('secret'), { id: '1', subject: 'alice' }])

  const unknown = sessionLogouts({ byToken: answer(undefined), byId: answer(undefined) })
  t.equal(await unknown.logOut('secret'), undefined)
  t.equal(await unknown.logOutById({ id: '1' }), undefined)
})

t.test('an id that no session can have is not asked about', async t => {
  const never = async () => { throw new Error('not asked for') }
  t.equal(await sessionLogouts({ byToken: never, byId: never }).logOutById({ id: '' }), undefined)
})
