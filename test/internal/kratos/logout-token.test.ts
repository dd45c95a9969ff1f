import fc from 'fast-check'
import { createHmac } from 'node:crypto'
import t from 'tap'
import { isLogoutToken, logoutToken } from '../../../lib/internal/kratos/logout-token.ts'

t.test('a logout token is always the same for one session token, on every node and in every release', async t => {
  const expected = createHmac('sha256', 'ory_st_one').update('fastify-logout/kratos/logout-token/1').digest('base64url')
  t.equal(logoutToken('ory_st_one'), `ory_lo_${expected}`)
  t.match(logoutToken('ory_st_one'), /^ory_lo_[\w-]{43}$/)
})

t.test('it is another one for every other session, and shows nothing of the session token', async t => {
  fc.assert(fc.property(fc.string({ minLength: 1 }), fc.string({ minLength: 1 }), (one, other) => {
    fc.pre(one !== other)
    return logoutToken(one) !== logoutToken(other) && isLogoutToken(logoutToken(one), one) && !isLogoutToken(logoutToken(one), other)
  }))
  t.notOk(logoutToken('ory_st_secret').includes('secret'))
})

t.test('nothing else is taken for it', async t => {
  const token = logoutToken('s')
  for (const given of ['', 's', token.slice(0, -1), `${token}x`, token.toLowerCase(), token.slice(7), ` ${token}`, logoutToken(token)]) {
    t.notOk(isLogoutToken(given, 's'), given)
  }
  fc.assert(fc.property(fc.string(), given => !isLogoutToken(given, 's')))
})
