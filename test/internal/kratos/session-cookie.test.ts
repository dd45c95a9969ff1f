import cookie, { type FastifyCookieOptions } from '@fastify/cookie'
import fc from 'fast-check'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { removedCookie, sessionCookieReader, type CookieIdentity, type SessionCookie } from '../../../lib/internal/kratos/session-cookie.ts'

async function reader (t: Test, options: SessionCookie = {}, cookies?: FastifyCookieOptions) {
  const app = Fastify()
  t.teardown(() => app.close())
  if (cookies !== undefined) await app.register(cookie, cookies)
  return { app, read: sessionCookieReader(app, options, 'aPlugin') }
}

for (const [host, cookies] of [['no cookie plugin', undefined], ['@fastify/cookie', {}]] as const) {
  t.test(`the session token is the value of the cookie, on a host with ${host}`, async t => {
    const { read } = await reader(t, {}, cookies)
    for (const [header, token] of [
      ['ory_kratos_session=abc', 'abc'], ['a=b; ory_kratos_session=abc; c=d', 'abc'], ['a=b;ory_kratos_session = abc ', 'abc'], ['ory_kratos_session="abc"', '"abc"'],
      ['ory_kratos_session=a%3Db%20%C3%BC', 'a=b \u00fc'], ['ory_kratos_session=a=b==', 'a=b=='], ['ory_kratos_session=%zz', '%zz'],
      ['ory_kratos_session=; ory_kratos_session=second', 'second'], ['ory_kratos_session=first; ory_kratos_session=second', 'first'],
      ['', undefined], [undefined, undefined], ['ory_kratos_session', undefined], ['ory_kratos_session=', undefined], ['Ory_Kratos_Session=abc', undefined],
      ['xory_kratos_session=abc', undefined], ['ory_kratos_sessionx=abc', undefined], ['a=ory_kratos_session=abc', undefined], [';;=;=a', undefined]
    ] as const) t.equal(read(header), token, String(header))
  })
}

t.test('what @fastify/cookie wrote is read, whatever the token', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(cookie, { secret: 'a secret' })
  const plain = sessionCookieReader(app, { name: 'sid' }, 'aPlugin')
  const signed = sessionCookieReader(app, { name: 'sid', signed: true }, 'aPlugin')
  const without = sessionCookieReader(Fastify(), { name: 'sid' }, 'aPlugin')
  fc.assert(fc.property(fc.string({ minLength: 1, unit: 'grapheme' }), token => {
    const sent = app.serializeCookie('sid', token)
    return plain(sent) === token && without(sent) === token && signed(app.serializeCookie('sid', app.signCookie(token))) === token
  }))
})

t.test('a host that codes its cookies in its own way is understood', async t => {
  const parseOptions = { path: '/', decode: (value: string) => Buffer.from(value, 'base64url').toString() }
  const { read } = await reader(t, {}, { parseOptions })
  t.equal(read(`ory_kratos_session=${Buffer.from('secret').toString('base64url')}`), 'secret')
})

t.test('of signed cookies only those with the signature of the host count, old secrets included', async t => {
  const { app, read } = await reader(t, { signed: true }, { secret: ['new', 'old'] })
  const { app: before } = await reader(t, {}, { secret: 'old' })
  const { app: other } = await reader(t, {}, { secret: 'other' })
  const pair = (value: string) => app.serializeCookie('ory_kratos_session', value)

  t.equal(read(pair(app.signCookie('token'))), 'token')
  t.equal(read(pair(before.signCookie('token'))), 'token')
  t.equal(read(`${pair(other.signCookie('forged'))}; ${pair(app.signCookie('token'))}`), 'token', 'a forged cookie in front does not hide the real one')
  for (const value of ['token', other.signCookie('token'), `${app.signCookie('token')}x`, app.signCookie(''), '.', '']) t.equal(read(pair(value)), undefined, value)
})

t.test('signed cookies without @fastify/cookie, or without its secret, are a TypeError', async t => {
  const mend = { name: 'TypeError', message: 'aPlugin: option "cookie" is signed, which needs @fastify/cookie: register it, with a secret, before this plugin' }
  await t.rejects(reader(t, { signed: true }), mend)
  await t.rejects(reader(t, { signed: true }, {}), mend)
})

const removed = (identity: CookieIdentity | SessionCookie) => removedCookie(identity, 'aPlugin', 'cookie')

t.test('the removing cookie has the identity of the one it removes, both expiries and no value', async t => {
  const expired = 'Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0'
  t.equal(removed({}), `ory_kratos_session=; Path=/; ${expired}; HttpOnly; Secure; SameSite=Lax`)
  t.equal(
    removed({ name: 'sid', path: '/auth', domain: 'app.example', secure: false, httpOnly: false, sameSite: 'strict', signed: true }),
    `sid=; Path=/auth; Domain=app.example; ${expired}; SameSite=Strict`
  )
  t.equal(removed({ name: '__Host-sid', sameSite: 'none', partitioned: true }), `__Host-sid=; Path=/; ${expired}; HttpOnly; Secure; SameSite=None; Partitioned`)
  t.equal(removed({ name: 'sid', domain: '.app.example' }), `sid=; Path=/; Domain=.app.example; ${expired}; HttpOnly; Secure; SameSite=Lax`)
})

t.test('a cookie that browsers would not take is a TypeError', async t => {
  for (const [identity, mend] of [
    [{ name: '' }, /a name/], [{ name: 'a b' }, /a name/], [{ name: 'a=b' }, /a name/], [{ name: 'a;b' }, /a name/],
    [{ path: '' }, /a path/], [{ path: 'auth' }, /a path/], [{ path: '/;Domain=evil' }, /a path/], [{ path: '/\r\n' }, /a path/],
    [{ domain: '' }, /a domain/], [{ domain: 'https://app.example' }, /a domain/], [{ domain: 'app.example:80' }, /a domain/], [{ domain: 'a;b' }, /a domain/],
    [{ sameSite: 'Lax' }, /sameSite/], [{ sameSite: 'toString' }, /sameSite/],
    [{ sameSite: 'none', secure: false }, /secure, because browsers take sameSite/], [{ partitioned: true, secure: false }, /secure, because browsers take partitioned/],
    [{ name: '__Secure-sid', secure: false }, /secure, because its name/], [{ name: '__Host-sid', secure: false }, /secure, because its name/], [{ name: '__Http-sid', secure: false }, /secure, because its name/],
    [{ name: '__Host-sid', path: '/auth' }, /no domain/], [{ name: '__host-sid', domain: 'app.example' }, /no domain/], [{ name: '__Host-Http-sid', path: '/auth' }, /no domain/],
    [{ name: '__Http-sid', httpOnly: false }, /httpOnly/], [{ name: '__Host-Http-sid', httpOnly: false }, /httpOnly/]
  ] as const) {
    t.throws(() => removed(identity as SessionCookie), { name: 'TypeError', message: mend }, JSON.stringify(identity))
    t.throws(() => removed(identity as SessionCookie), { message: /^aPlugin: option "cookie" must / })
  }
})
