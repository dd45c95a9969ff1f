import cookie, { type FastifyCookieOptions } from '@fastify/cookie'
import fc from 'fast-check'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import {
  clearCookieOfHost, cookieReader, cookieRemover, removedCookie, type CookieIdentity, type CredentialCookie
} from '../../../lib/internal/http/cookie.ts'

const named = { caller: 'aPlugin', option: 'aCookie' }

async function reader (t: Test, options: Partial<CredentialCookie> = {}, cookies?: FastifyCookieOptions) {
  const app = Fastify()
  t.teardown(() => app.close())
  if (cookies !== undefined) await app.register(cookie, cookies)
  return { app, read: cookieReader(app, { name: 'sid', ...options }, named) }
}

for (const [host, cookies] of [['no cookie plugin', undefined], ['@fastify/cookie', {}]] as const) {
  t.test(`every value of a cookie is read, in order and without empty ones, on a host with ${host}`, async t => {
    const { read } = await reader(t, {}, cookies)
    for (const [header, values] of [
      ['sid=abc', ['abc']], ['a=b; sid=abc; c=d', ['abc']], ['a=b;sid = abc ', ['abc']], ['sid="abc"', ['abc']],
      ['sid=a%3Db%20%C3%BC', ['a=b \u00fc']], ['sid=a=b==', ['a=b==']], ['sid=%zz', ['%zz']],
      ['sid=; sid=second', ['second']], ['sid=first; sid=second', ['first', 'second']], ['sid=one; a=b; sid=one', ['one', 'one']],
      ['sid="a%20b"', ['a b']], ['sid=""', []], ['sid="', ['"']], ['sid="a', ['"a']], ['sid=a"', ['a"']], ['sid="a"b"', ['a"b']],
      ['', []], [undefined, []], ['sid', []], ['sid=', []], ['Sid=abc', []],
      ['xsid=abc', []], ['sidx=abc', []], ['a=sid=abc', []], [';;=;=a', []]
    ] as const) t.strictSame(read(header), values, String(header))
  })
}

t.test('what @fastify/cookie wrote is read, whatever the value', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(cookie, { secret: 'a secret' })
  const plain = cookieReader(app, { name: 'sid' }, named)
  const signed = cookieReader(app, { name: 'sid', signed: true }, named)
  const without = cookieReader(Fastify(), { name: 'sid' }, named)
  fc.assert(fc.property(fc.string({ minLength: 1, unit: 'grapheme' }), value => {
    const sent = app.serializeCookie('sid', value)
    const [fromSigned] = signed(app.serializeCookie('sid', app.signCookie(value)))
    return plain(sent)[0] === value && without(sent)[0] === value && fromSigned === value
  }))
})

t.test('values are decoded by the host\'s @fastify/cookie', async t => {
  const parseOptions = { path: '/', decode: (value: string) => Buffer.from(value, 'base64url').toString() }
  const { read } = await reader(t, {}, { parseOptions })
  t.strictSame(read(`sid=${Buffer.from('secret').toString('base64url')}`), ['secret'])
})

t.test('of signed cookies only those with the signature of the host count, old secrets included', async t => {
  const { app, read } = await reader(t, { signed: true }, { secret: ['new', 'old'] })
  const { app: before } = await reader(t, {}, { secret: 'old' })
  const { app: other } = await reader(t, {}, { secret: 'other' })
  const pair = (value: string) => app.serializeCookie('sid', value)

  t.strictSame(read(pair(app.signCookie('token'))), ['token'])
  t.strictSame(read(pair(before.signCookie('token'))), ['token'])
  t.strictSame(read(`${pair(other.signCookie('forged'))}; ${pair(app.signCookie('token'))}`), ['token'], 'a forged one is skipped')
  for (const value of ['token', other.signCookie('token'), `${app.signCookie('token')}x`, app.signCookie(''), '.', '']) {
    t.strictSame(read(pair(value)), [], value)
  }
})

t.test('signed cookies without @fastify/cookie, or without its secret, are a TypeError', async t => {
  const error = {
    name: 'TypeError',
    message: 'aPlugin: option "aCookie" is signed, which needs @fastify/cookie: register it, with a secret, before this plugin'
  }
  await t.rejects(reader(t, { signed: true }), error)
  await t.rejects(reader(t, { signed: true }, {}), error)
})

const removed = (identity: Partial<CookieIdentity>) => removedCookie({ name: 'sid', ...identity }, 'aPlugin', 'aCookie')

t.test('the removing cookie has the same identity, Expires and Max-Age, and no value', async t => {
  const expired = 'Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0'
  t.equal(removed({}), `sid=; Path=/; ${expired}; HttpOnly; Secure; SameSite=Lax`)
  const odd = { path: '/auth', domain: 'app.example', secure: false, httpOnly: false, sameSite: 'strict', signed: true } as const
  t.equal(removed(odd), `sid=; Path=/auth; Domain=app.example; ${expired}; SameSite=Strict`)
  const chips = { name: '__Host-sid', sameSite: 'none', partitioned: true } as const
  t.equal(removed(chips), `__Host-sid=; Path=/; ${expired}; HttpOnly; Secure; SameSite=None; Partitioned`)
  t.equal(removed({ domain: '.app.example' }), `sid=; Path=/; Domain=.app.example; ${expired}; HttpOnly; Secure; SameSite=Lax`)
})

t.test('K7: a cookie that browsers would reject is a TypeError', async t => {
  for (const [identity, hint] of [
    [{ name: '' }, /a name/], [{ name: 'a b' }, /a name/], [{ name: 'a=b' }, /a name/], [{ name: 'a;b' }, /a name/],
    [{ path: '' }, /a path/], [{ path: 'auth' }, /a path/], [{ path: '/;Domain=evil' }, /a path/], [{ path: '/\r\n' }, /a path/],
    [{ domain: '' }, /a domain/], [{ domain: 'https://app.example' }, /a domain/], [{ domain: 'app.example:80' }, /a domain/],
    [{ domain: 'a;b' }, /a domain/], [{ sameSite: 'Lax' }, /sameSite/], [{ sameSite: 'toString' }, /sameSite/],
    [{ sameSite: 'none', secure: false }, /secure: browsers accept sameSite/],
    [{ partitioned: true, secure: false }, /secure: browsers accept partitioned/],
    [{ name: '__Secure-sid', secure: false }, /secure, because its name/],
    [{ name: '__Host-sid', secure: false }, /secure, because its name/],
    [{ name: '__Http-sid', secure: false }, /secure, because its name/], [{ name: '__Host-sid', path: '/auth' }, /no domain/],
    [{ name: '__host-sid', domain: 'app.example' }, /no domain/], [{ name: '__Host-Http-sid', path: '/auth' }, /no domain/],
    [{ name: '__Http-sid', httpOnly: false }, /httpOnly/], [{ name: '__Host-Http-sid', httpOnly: false }, /httpOnly/]
  ] as const) {
    t.throws(() => removed(identity as CookieIdentity), { name: 'TypeError', message: hint }, JSON.stringify(identity))
    t.throws(() => removed(identity as CookieIdentity), { message: /^aPlugin: option "aCookie" must / })
  }
})

for (const withPlugin of [false, true]) {
  t.test(`a cookie is removed by the only Set-Cookie of its name, ${withPlugin ? 'with' : 'without'} @fastify/cookie`, async t => {
    const app = Fastify()
    t.teardown(() => app.close())
    if (withPlugin) await app.register(cookie, { secret: 'a secret', parseOptions: { signed: true, path: '/x', domain: 'other.example' } })
    const remove = cookieRemover({ name: 'sid', path: '/app', sameSite: 'strict' }, 'aPlugin', 'aCookie')
    app.get('/', async (_request, reply) => {
      reply.header('set-cookie', ['sid=1; Path=/', 'side=1', 'sid2=1'])
      remove(reply)
      remove(reply)
    })
    const { headers } = await app.inject('/')
    const lines = [headers['set-cookie'] ?? []].flat()
    t.strictSame(lines.map(line => line.split('=')[0]), ['side', 'sid2', 'sid'])
    t.strictSame(lines.at(-1)?.split('; ').filter(part => !part.startsWith('Expires')).sort(), [
      'HttpOnly', 'Max-Age=0', 'Path=/app', 'SameSite=Strict', 'Secure', 'sid='
    ])
    t.ok(Date.parse(/Expires=([^;]+)/.exec(lines.at(-1) ?? '')?.[1] ?? '') < Date.now())
  })
}

t.test('a cookie of the host\'s plugin can be cleared with the attributes of the plugin', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const cleared: boolean[] = []
  app.get('/without', async (_request, reply) => { cleared.push(clearCookieOfHost(reply, 'sid', {})) })
  await app.register(async scope => {
    await scope.register(cookie)
    scope.get('/with', async (_request, reply) => { cleared.push(clearCookieOfHost(reply, 'sid', { path: '/app', sameSite: null })) })
  })
  t.equal((await app.inject('/without')).headers['set-cookie'], undefined)
  t.match((await app.inject('/with')).headers['set-cookie'], /^sid=; Max-Age=0; Path=\/app; Expires=Thu, 01 Jan 1970 00:00:00 GMT$/)
  t.strictSame(cleared, [false, true])
})
