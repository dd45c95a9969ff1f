import fc from 'fast-check'
import { createHmac } from 'node:crypto'
import t from 'tap'
import { isLogoutUrlToken, logoutUrlToken } from '../../../lib/internal/kratos/logout-url-token.ts'

t.test('the logout token of a session token is the same on every node and in every release', async t => {
  const expected = createHmac('sha256', 'ory_st_one').update('fastify-logout/kratos/logout-token/1').digest('base64url')
  t.equal(logoutUrlToken('ory_st_one'), `ory_lo_${expected}`)
  t.match(logoutUrlToken('ory_st_one'), /^ory_lo_[\w-]{43}$/)
})

t.test('each session has another logout token, which does not contain the session token', async t => {
  fc.assert(fc.property(fc.string({ minLength: 1 }), fc.string({ minLength: 1 }), (one, other) => {
    fc.pre(one !== other)
    const token = logoutUrlToken(one)
    return token !== logoutUrlToken(other) && isLogoutUrlToken(token, one) && !isLogoutUrlToken(token, other)
  }))
  t.notOk(logoutUrlToken('ory_st_secret').includes('secret'))
})

t.test('every other text is refused', async t => {
  const token = logoutUrlToken('s')
  for (const given of ['', 's', token.slice(0, -1), `${token}x`, token.toLowerCase(), token.slice(7), ` ${token}`, logoutUrlToken(token)]) {
    t.notOk(isLogoutUrlToken(given, 's'), given)
  }
  fc.assert(fc.property(fc.string(), given => !isLogoutUrlToken(given, 's')))
})
