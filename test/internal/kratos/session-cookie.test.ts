import cookie from '@fastify/cookie'
import Fastify from 'fastify'
import t from 'tap'
import { namedSessionCookie, sessionCookieReader } from '../../../lib/internal/kratos/session-cookie.ts'

t.test('the session cookie has the name that Ory Kratos gives it, unless the host gave it another', async t => {
  t.strictSame(namedSessionCookie({ path: '/auth' }), { name: 'ory_kratos_session', path: '/auth' })
  t.strictSame(namedSessionCookie({ name: 'sid' }), { name: 'sid' })
})

t.test('the session token is the first value of the session cookie', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const read = sessionCookieReader(app, {}, 'aPlugin')
  t.equal(read('a=b; ory_kratos_session=abc; c=d'), 'abc')
  t.equal(read('ory_kratos_session=; ory_kratos_session=first; ory_kratos_session=second'), 'first')
  for (const header of [undefined, '', 'a=b', 'ory_kratos_session=']) t.equal(read(header), undefined, String(header))
  t.equal(sessionCookieReader(app, { name: 'sid' }, 'aPlugin')('sid=abc'), 'abc')
})

t.test('a forged cookie before the signed one is ignored', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(cookie, { secret: 'a secret' })
  const read = sessionCookieReader(app, { signed: true }, 'aPlugin')
  t.equal(read(`ory_kratos_session=forged.c2ln; ${app.serializeCookie('ory_kratos_session', app.signCookie('token'))}`), 'token')
  t.equal(read('ory_kratos_session=forged.c2ln'), undefined)
})

t.test('signed cookies without @fastify/cookie are a TypeError that names the option "cookie"', async t => {
  t.throws(() => sessionCookieReader(Fastify(), { signed: true }, 'aPlugin'), {
    name: 'TypeError',
    message: 'aPlugin: option "cookie" is signed, which needs @fastify/cookie: register it, with a secret, before this plugin'
  })
})
