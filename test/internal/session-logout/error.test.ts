import t from 'tap'
import { isLogoutError, logoutError, misconfigured } from '../../../lib/internal/session-logout/error.ts'

t.test('an error has a status, a code and a fixed message; an outage asks for a retry', async t => {
  t.match(logoutError('LOGOUT_SCOPE'), { name: 'Error', statusCode: 400, code: 'LOGOUT_SCOPE', message: 'The scope is not supported.' })
  t.notOk('cause' in logoutError('LOGOUT_SCOPE') || 'headers' in logoutError('LOGOUT_SCOPE'))
  const cause = new Error('down')
  t.match(logoutError('LOGOUT_UNAVAILABLE', cause), { statusCode: 503, cause, headers: { 'retry-after': '5' } })
})

t.test('a set-up that cannot log out names the fix in its cause', async t => {
  t.match(misconfigured('aSource', 'do something else'), {
    statusCode: 500,
    code: 'LOGOUT_MISCONFIGURED',
    message: 'The logout is not set up correctly.',
    cause: {
      name: 'TypeError',
      message: 'aSource: do something else'
    }
  })
})

t.test('errors are known by their code, whichever copy of the package made them', async t => {
  t.ok(isLogoutError(logoutError('LOGOUT_BODY')))
  t.ok(isLogoutError(Object.assign(new Error('x'), { code: 'LOGOUT_BODY' })))
  for (const other of [new Error('x'), Object.assign(new Error('x'), { code: 'toString' }), Object.assign(new Error('x'), { code: 5 }),
    Object.assign(new Error('x'), { code: ['LOGOUT_BODY'] }),
    { code: 'LOGOUT_BODY' }, null, undefined, 'LOGOUT_BODY']) {
    t.notOk(isLogoutError(other))
  }
})
