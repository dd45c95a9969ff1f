import Fastify from 'fastify'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { backChannelLogout, type BackChannelLogout } from '../../lib/flows/openid-back-channel.ts'
import { jwksPath } from '../servers/issuer.ts'
import { assertMisuse } from '../misuse.ts'
import { badLogoutTokens, goodClaims, logoutEvent, logoutToken } from '../openid/bad-logout-tokens.ts'
import { clientId, done, failure, hour, openidHost, path, refused, serve, testIssuer, unavailable } from '../openid-host.ts'
import { sendHttp2 } from '../http2-request.ts'
import { signJwt } from '../sign-jwt.ts'

const form = 'application/x-www-form-urlencoded'
const second = 1000

/** Waits for what happens after the response, for ten seconds at most. */
async function until (holds: () => boolean): Promise<void> {
  for (let waited = 0; waited < 1000 && !holds(); waited++) await sleep(10)
}
const seconds = (offset = 0) => Math.floor(Date.now() / 1000) + offset

// What a good token ends

t.test('a sid ends the sessions of that provider session, and no others', async t => {
  const issuer = await testIssuer(t)
  const host = openidHost()
  const { logOut } = await serve(t, issuer, host)
  host.logIn('phone', { issuer: issuer.url, sid: '08a5019c' })
  host.logIn('phone, another tab', { issuer: issuer.url, sid: '08a5019c' })
  host.logIn('laptop', { issuer: issuer.url, sid: 'b3' })
  host.logIn('old', { issuer: issuer.url })
  t.strictSame(await logOut({ sub: undefined }), done)
  t.strictSame(['phone', 'phone, another tab', 'laptop', 'old'].map(host.statusOf), ['logged_out', 'logged_out', 'active', 'active'])
  t.strictSame(host.told(), ['phone', 'phone, another tab'])
})

t.test('a sub ends all sessions of that user whose ID Token was issued before', async t => {
  const issuer = await testIssuer(t)
  const host = openidHost()
  const { logOut } = await serve(t, issuer, host)
  host.logIn('phone', { issuer: issuer.url, sid: '08a5019c' })
  host.logIn('old', { issuer: issuer.url, issuedAt: Date.now() - 7 * hour })
  host.logIn('bob', { issuer: issuer.url, subject: 'bob', sid: '08a5019c' })
  t.strictSame(await logOut({ sid: undefined }), done)
  t.strictSame(['phone', 'old', 'bob'].map(host.statusOf), ['logged_out', 'logged_out', 'active'])
})

t.test('a sid and a sub end that provider session of that user, and sessions of the user without a sid', async t => {
  const issuer = await testIssuer(t)
  const host = openidHost()
  const { logOut } = await serve(t, issuer, host)
  host.logIn('phone', { issuer: issuer.url, sid: '08a5019c' })
  host.logIn('old', { issuer: issuer.url })
  host.logIn('laptop', { issuer: issuer.url, sid: 'b3' })
  host.logIn('bob', { issuer: issuer.url, subject: 'bob', sid: '08a5019c' })
  t.strictSame(await logOut(), done)
  t.strictSame(['phone', 'old', 'laptop', 'bob'].map(host.statusOf), ['logged_out', 'logged_out', 'active', 'active'])
})

t.test('logoutToken.sidEnds: "subject" ends all sessions of the user; a sid alone still ends one', async t => {
  const issuer = await testIssuer(t)
  const host = openidHost()
  const { logOut } = await serve(t, issuer, host, { logoutToken: { sidEnds: 'subject' } })
  for (const sid of ['08a5019c', 'b3', 'c4']) host.logIn(sid, { issuer: issuer.url, sid })
  host.logIn('in ten seconds', { issuer: issuer.url, sid: '08a5019c', issuedAt: Date.now() + 10 * second })
  t.strictSame(await logOut({ sid: 'c4', sub: undefined }), done)
  t.strictSame(['08a5019c', 'b3', 'c4'].map(host.statusOf), ['active', 'active', 'logged_out'])
  t.strictSame(await logOut(), done)
  t.strictSame(['08a5019c', 'b3', 'c4'].map(host.statusOf), ['logged_out', 'logged_out', 'logged_out'])
  t.equal(host.statusOf('in ten seconds'), 'active', 'the cutoff is that of a sub')
})

t.test('nobody bound, already ended, and the same token again are 200 without effect', async t => {
  const issuer = await testIssuer(t)
  const host = openidHost()
  const { logOut, sendToken } = await serve(t, issuer, host)
  t.strictSame(await logOut({ sid: 'nobody', sub: 'nobody' }), done)
  host.logIn('phone', { issuer: issuer.url, sid: '08a5019c' })
  host.logIn('ended', { issuer: issuer.url, sid: '08a5019c' })
  host.sessions.logOutById({ id: 'ended' })
  const token = logoutToken(issuer.keyring)
  for (let round = 0; round < 3; round++) t.strictSame(await sendToken(token), done)
  t.strictSame(await logOut({ exp: seconds(300) }), done, 'the same jti with a newer expiry, as Zitadel repeats')
  t.strictSame(host.told(), ['phone'])
})

t.test('of 50 parallel requests all are 200, and onLogout is called once', async t => {
  const issuer = await testIssuer(t)
  const host = openidHost()
  const { sendToken } = await serve(t, issuer, host)
  host.logIn('phone', { issuer: issuer.url, sid: '08a5019c' })
  const token = logoutToken(issuer.keyring)
  for (const answer of await Promise.all(Array.from({ length: 50 }, () => sendToken(token)))) t.strictSame(answer, done)
  t.strictSame(host.told(), ['phone'])
  t.equal(issuer.count(jwksPath), 1, 'one fetch of the keys serves all')
})

t.test('a logout that arrives before its login is bound wins; a new login in the same provider session lives', async t => {
  const issuer = await testIssuer(t)
  const host = openidHost()
  const { logOut, sendToken } = await serve(t, issuer, host)
  const token = logoutToken(issuer.keyring, { iat: seconds(-100) })
  t.strictSame(await sendToken(token), done)
  t.equal(host.logIn('early', { issuer: issuer.url, sid: '08a5019c', issuedAt: Date.now() - 100 * second }), 'revoked')
  t.equal(host.logIn('new', { issuer: issuer.url, sid: '08a5019c', issuedAt: Date.now() - 30 * second }), 'live')
  t.strictSame(await sendToken(token), done, 'a late repeat')
  t.equal(host.statusOf('new'), 'active')
  t.strictSame(await logOut(), done)
  t.equal(host.statusOf('new'), 'logged_out')
})

t.test('the cutoff is iat or an earlier toe, with room for the clocks of a provider: 60 s with sid, 5 s with sub', async t => {
  const issuer = await testIssuer(t)
  const cutoffs: Array<{ cutoff: number, until: number }> = []
  const index = { logOut: (logout: { cutoff: number, until: number }) => { cutoffs.push(logout); return [] } }
  const { logOut } = await serve(t, issuer, openidHost(), { index })
  const iat = seconds()
  const cutoffOf = async (change: object) => {
    t.strictSame(await logOut({ iat, ...change }), done)
    return (cutoffs.at(-1)?.cutoff ?? 0) - iat * 1000
  }
  t.equal(await cutoffOf({}), 60_000)
  t.equal(await cutoffOf({ sub: undefined }), 60_000)
  t.equal(await cutoffOf({ sid: undefined }), 5_000)
  t.equal(await cutoffOf({ toe: iat - 100 }), -40_000)
  t.equal(await cutoffOf({ toe: iat - 100, sid: undefined }), -95_000)
  t.equal(await cutoffOf({ toe: iat }), 60_000)
  t.equal(await cutoffOf({ toe: 0 }), 60_000 - iat * 1000)
  t.equal(await cutoffOf({ iat: iat - 0.0004 }), 60_000, 'rounded up')
  t.equal(await cutoffOf({ iat: iat - 0.0015, sid: undefined }), 4_999)
  for (const toe of [iat + 1, -1, null, '0', `${iat}`, true, [iat], {}]) {
    t.equal(await cutoffOf({ toe }), 60_000, `toe ${JSON.stringify(toe)}`)
  }
  for (const { until } of cutoffs) {
    t.ok(until - Date.now() > hour + 50_000 && until - Date.now() <= hour + 60_000, 'a session and the tolerance')
  }
})

t.test('a session with an ID Token of 70 seconds later lives', async t => {
  const issuer = await testIssuer(t)
  const host = openidHost()
  const { logOut } = await serve(t, issuer, host)
  host.logIn('later', { issuer: issuer.url, issuedAt: Date.now() + 70 * second })
  t.strictSame(await logOut({ sid: undefined }), done)
  t.strictSame(await logOut(), done)
  t.equal(host.statusOf('later'), 'active')
})

// The request

t.test('other parameters, claims, charsets, Accept and Sec-Fetch headers are ignored', async t => {
  const issuer = await testIssuer(t)
  const host = openidHost()
  const { post } = await serve(t, issuer, host)
  const token = logoutToken(issuer.keyring, { unknown: { deeply: ['nested'] }, aud: [clientId, 'another'], trace_id: 1 })
  t.strictSame(await post(`client_id=x&logout_token=${token}&state=%E2%82%AC+x&state=2&=&a`), done)
  t.strictSame(await post(`&&logout_token=${token}&`), done)
  for (const headers of [
    { 'content-type': `${form}; charset=UTF-8` }, { 'content-type': `${form};charset=iso-8859-1` }, { 'content-type': form.toUpperCase() },
    { 'sec-fetch-mode': 'cors', 'sec-fetch-site': 'cross-site', origin: 'null' },
    { accept: 'image/png' }, { accept: 'text/html' }, { cookie: 'sid=x' }
  ] as Array<Record<string, string>>) t.strictSame(await post(`logout_token=${token}`, headers), done, JSON.stringify(headers))
})

t.test('no token, more than one, and bodies that are not forms are refused', async t => {
  const issuer = await testIssuer(t)
  const { post, inject, send } = await serve(t, issuer, openidHost())
  const token = logoutToken(issuer.keyring)
  for (const body of ['', 'logout_token=', 'logout_token', 'Logout_Token=x', 'token=x', '&', '=x']) {
    t.strictSame(await post(body), refused('missing'), body)
  }
  for (const body of [`logout_token=${token}&logout_token=${token}`, 'logout_token=&logout_token=x', 'logout%5Ftoken=x&logout_token=y']) {
    t.strictSame(await post(body), refused('repeated'), body.slice(0, 40))
  }
  for (const type of ['application/json', 'text/plain', 'multipart/form-data; boundary=x', 'rubbish', 'a/b/c', '', ';', 'a/logout+jwt']) {
    t.strictSame(await post(`logout_token=${token}`, { 'content-type': type }), refused('missing'), type)
  }
  t.strictSame(await post(JSON.stringify({ logout_token: token }), { 'content-type': 'application/json' }), refused('missing'))
  t.strictSame(await inject({ method: 'POST', url: path }), refused('missing'), 'no body')
  t.strictSame(await inject({ method: 'POST', url: `${path}?logout_token=${token}` }), refused('missing'), 'not from the query')
  t.strictSame((await send(`POST ${path}`, [['Content-Length', '3']], 'a=b')).status, 400, 'no media type')
})

t.test('a form that cannot be decoded is malformed', async t => {
  const issuer = await testIssuer(t)
  const { post } = await serve(t, issuer, openidHost())
  const token = logoutToken(issuer.keyring)
  const notUtf8 = Buffer.from([0x61, 0x3d, 0xc3, 0x28])
  for (const body of ['logout_token=%', 'logout_token=%zz', '%=1', `logout_token=${token}&x=%C3%28`, notUtf8]) {
    t.strictSame(await post(body), refused('malformed'), String(body).slice(0, 40))
  }
  for (const encoding of ['gzip', 'identity', '']) {
    t.strictSame(await post(`logout_token=${token}`, { 'content-encoding': encoding }), refused('malformed'), encoding)
  }
})

t.test('a body of more than 64 KiB is 413', async t => {
  const issuer = await testIssuer(t)
  const { post } = await serve(t, issuer, openidHost())
  t.strictSame(await post(`x=${'x'.repeat(65_534)}`), refused('missing'))
  t.strictSame(await post(`x=${'x'.repeat(65_535)}`), failure(413, 'payload_too_large'))
})

t.test('over HTTP/2, with and without a length', async t => {
  const issuer = await testIssuer(t)
  const host = openidHost()
  const { app } = await serve(t, issuer, host, { server: { http2: true } as object })
  host.logIn('phone', { issuer: issuer.url, sid: '08a5019c' })
  const body = `logout_token=${logoutToken(issuer.keyring)}`
  for (const headers of [{}, { 'content-length': `${body.length}` }]) {
    const { status } = await sendHttp2(app, { method: 'POST', path, headers: { 'content-type': form, ...headers }, body: [body] })
    t.equal(status, 200)
  }
  t.strictSame(host.told(), ['phone'])
})

t.test('HEAD, GET and other methods are the 404 of the host', async t => {
  const issuer = await testIssuer(t)
  const { inject } = await serve(t, issuer, openidHost())
  for (const method of ['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS'] as const) {
    t.equal((await inject({ method, url: path })).status, 404, method)
  }
})

t.test('the path and the prefix can be chosen', async t => {
  const issuer = await testIssuer(t)
  const { inject } = await serve(t, issuer, openidHost(), { route: { path: '/oidc/logout' }, prefix: '/auth' } as object)
  const payload = `logout_token=${logoutToken(issuer.keyring)}`
  t.strictSame(await inject({ method: 'POST', url: '/auth/oidc/logout', payload, headers: { 'content-type': form } }), done)
})

// The token

for (const { name, make, fault } of badLogoutTokens) {
  t.test(`refused as ${fault}: ${name}`, async t => {
    const issuer = await testIssuer(t)
    const host = openidHost()
    host.logIn('phone', { issuer: issuer.url, sid: '08a5019c' })
    const { sendToken, lines } = await serve(t, issuer, host)
    const token = make(issuer.keyring)
    t.strictSame(await sendToken(token), refused(fault))
    t.equal(host.statusOf('phone'), 'active')
    t.match(lines, [{ level: 40, event: 'logout.token-refused', reason: fault, msg: 'a logout token was refused' }])
    t.equal(lines.length, 1)
    const known = fault !== 'unknown issuer' && fault !== 'not a signed token'
    t.equal(lines[0]?.['issuer'], known ? issuer.url : 'unknown')
    const words = [...token.split('.').filter(part => part !== ''), '08a5019c', 'alice', 'mallory']
    t.notMatch(JSON.stringify(lines), new RegExp(words.join('|')))
  })
}

t.test('there are 27 of them', async t => { t.equal(badLogoutTokens.length, 27) })

t.test('what is not a signed token is refused', async t => {
  const issuer = await testIssuer(t)
  const { sendToken, logOut } = await serve(t, issuer, openidHost())
  const [head = '', payload = '', signature = ''] = logoutToken(issuer.keyring).split('.')
  const encoded = (value: string) => Buffer.from(value).toString('base64url')
  const odd = [
    'x', '.', '..', '...', `${head}.${payload}`, `${head}.${payload}.${signature}.`, `.${payload}.${signature}`, `${head}..${signature}`,
    `${encoded('[]')}.${payload}.${signature}`, `${encoded('null')}.${payload}.${signature}`, `${head}.${encoded('[]')}.${signature}`,
    `${head}.${encoded('"x"')}.${signature}`, `${head}.${encoded('{')}.${signature}`,
    ` ${head}.${payload}.${signature}`, `${head}=.${payload}.${signature}`,
    'a'.repeat(16_385), `${'a'.repeat(8000)}.${'b'.repeat(8000)}.${'c'.repeat(400)}`, 'a.b.c.d.e'.padEnd(16_385, 'e')
  ]
  for (const token of odd) t.strictSame(await sendToken(token), refused('not a signed token'), token.slice(0, 50))
  t.strictSame(await sendToken(`${head}.${payload}.${signature}=`), refused('not a signed token'))
  t.strictSame(await logOut({}, { crit: null }), refused('not a signed token'))
})

t.test('a token that is just short enough is accepted', async t => {
  const issuer = await testIssuer(t)
  const { length } = logoutToken(issuer.keyring, { padding: '' })
  const { sendToken, logOut } = await serve(t, issuer, openidHost(), { logoutToken: { maxLength: length } })
  t.strictSame(await logOut({ padding: '' }), done)
  t.strictSame(await sendToken(`${logoutToken(issuer.keyring, { padding: 'xxx' })}`), refused('not a signed token'))
})

t.test('no request goes out for an issuer that is not configured', async t => {
  const [issuer, other] = [await testIssuer(t), await testIssuer(t)]
  const { sendToken, logOut } = await serve(t, issuer, openidHost())
  t.strictSame(await sendToken(logoutToken(other.keyring)), refused('unknown issuer'))
  for (const iss of [undefined, null, '', [issuer.url], { a: 1 }, `${issuer.url}/`, issuer.url.toUpperCase()]) {
    t.strictSame(await logOut({ iss }), refused('unknown issuer'), JSON.stringify(iss))
  }
  t.equal(other.seen.length, 0)
  t.equal(issuer.seen.length, 0)
})

t.test('each issuer has its own keys, clients and tolerances', async t => {
  const [issuer, other] = [await testIssuer(t), await testIssuer(t)]
  const { sendToken } = await serve(t, issuer, openidHost(), {
    issuers: [
      { issuer: issuer.url, clientId, jwksUri: `${issuer.url}/keys` },
      { issuer: other.url, clientId: ['a', 'b'], tolerate: ['untyped'] }
    ]
  })
  t.strictSame(await sendToken(logoutToken(issuer.keyring)), done)
  t.strictSame(await sendToken(logoutToken({ ...other.keyring, clientId: 'b' }, {}, { typ: 'JWT' })), done, 'keys by discovery')
  t.strictSame(await sendToken(logoutToken(other.keyring)), refused('audience'))
  t.strictSame(await sendToken(logoutToken(issuer.keyring, {}, { typ: 'JWT' })), refused('type'))
  issuer.addKey('only here', 'RS256')
  const foreign = { ...goodClaims(other.keyring), aud: 'a' }
  t.strictSame(await sendToken(issuer.sign('only here', foreign, { typ: 'logout+jwt' }, 'RS256')), refused('signature'))
})

const otherTypes = ['at+jwt', 'secevent+jwt', 'command+jwt', '', null]

t.test('the type is that of a logout token, in any case and with application/', async t => {
  const issuer = await testIssuer(t)
  const { logOut, lines } = await serve(t, issuer, openidHost())
  for (const typ of ['logout+jwt', 'LOGOUT+JWT', 'application/logout+jwt', 'Application/Logout+JWT']) {
    t.strictSame(await logOut({}, { typ }), done, typ)
  }
  for (const typ of [undefined, 'JWT', 'jwt', 'application/jwt']) {
    t.strictSame(await logOut({}, { typ }), refused('type'), String(typ))
    t.match(lines.pop(), { reason: 'type', tolerance: 'untyped' }, 'the log names the tolerance')
  }
  for (const typ of [...otherTypes, 5, ['logout+jwt'], 'text/logout+jwt', 'application/application/jwt', 'logout+jwt ']) {
    t.strictSame(await logOut({}, { typ }), refused('type'), JSON.stringify(typ))
    t.notMatch(lines.pop(), { tolerance: /./ })
  }
})

t.test('with the tolerance "untyped" a type may be missing or JWT, and no other', async t => {
  const issuer = await testIssuer(t)
  const { logOut } = await serve(t, issuer, openidHost(), { issuer: { tolerate: ['untyped'] } })
  for (const typ of [undefined, 'JWT', 'logout+jwt', 'application/jwt']) t.strictSame(await logOut({}, { typ }), done, String(typ))
  for (const typ of otherTypes) t.strictSame(await logOut({}, { typ }), refused('type'), String(typ))
  t.strictSame(await logOut({ exp: undefined }), refused('expiry'), 'it tolerates nothing else')
})

t.test('with the tolerance "unexpiring" exp may be missing, and iat bounds the age', async t => {
  const issuer = await testIssuer(t)
  const strict = await serve(t, issuer, openidHost())
  t.strictSame(await strict.logOut({ exp: undefined }), refused('expiry'))
  t.match(strict.lines, [{ reason: 'expiry', tolerance: 'unexpiring' }])
  const { logOut } = await serve(t, issuer, openidHost(), { issuer: { tolerate: ['unexpiring'] } })
  t.strictSame(await logOut({ exp: undefined }), done)
  t.strictSame(await logOut({ exp: undefined, iat: seconds(-400) }), refused('issued'))
  t.strictSame(await logOut({ exp: seconds(-100) }), refused('expired'), 'an exp that is there counts')
  t.strictSame(await logOut({ exp: null }), refused('malformed'))
  t.strictSame(await logOut({}, { typ: 'JWT' }), refused('type'), 'it tolerates nothing else')
})

t.test('times count with the tolerance for clocks, and must be numbers', async t => {
  const issuer = await testIssuer(t)
  const { logOut, sendToken } = await serve(t, issuer, openidHost())
  for (const change of [
    { exp: seconds(-55) }, { nbf: seconds(55) }, { iat: seconds(55) }, { iat: seconds(-355) },
    { nbf: seconds(-1) }, { iat: seconds() + 0.5 }, { nbf: 0 }
  ]) t.strictSame(await logOut(change), done, JSON.stringify(change))
  for (const [fault, change] of [
    ['expired', { exp: seconds(-61) }], ['expired', { exp: -1 }], ['expired', { nbf: seconds(65) }],
    ['issued', { iat: seconds(65) }], ['issued', { iat: seconds(-365) }], ['issued', { iat: null }], ['issued', { iat: `${seconds()}` }],
    ['malformed', { exp: null }], ['malformed', { exp: `${seconds(100)}` }], ['malformed', { nbf: null }],
    ['malformed', { nbf: true }], ['malformed', { exp: [] }]
  ] as const) t.strictSame(await logOut(change), refused(fault), JSON.stringify(change))

  for (const [name, fault] of [['exp', 'malformed'], ['nbf', 'malformed'], ['iat', 'issued']] as const) {
    const text = JSON.stringify({ ...goodClaims(issuer.keyring), [name]: 'huge' }).replace('"huge"', '1e999')
    const header = { typ: 'logout+jwt', kid: 'k1' }
    t.strictSame(await sendToken(signJwt(issuer.keyring.privateKey, 'RS256', text, header)), refused(fault), `${name} of 1e999`)
  }
})

t.test('maxAge and clockTolerance can be chosen', async t => {
  const issuer = await testIssuer(t)
  const { logOut } = await serve(t, issuer, openidHost(), { logoutToken: { maxAge: 3_600_000, clockTolerance: 0 } })
  t.strictSame(await logOut({ iat: seconds(-3500) }), done)
  t.strictSame(await logOut({ iat: seconds(-3602) }), refused('issued'))
  t.strictSame(await logOut({ iat: seconds(5) }), refused('issued'))
  t.strictSame(await logOut({ exp: seconds(-1) }), refused('expired'))
})

t.test('audiences, ids and events in every odd form', async t => {
  const issuer = await testIssuer(t)
  const { logOut } = await serve(t, issuer, openidHost())
  const long = 'x'.repeat(1024)
  for (const change of [
    { aud: ['other', clientId] }, { sid: long, sub: long, jti: long }, { events: { [logoutEvent]: { a: 1 }, other: 'x' } },
    { sub: '\0\ud800 __proto__' }
  ]) t.strictSame(await logOut(change), done, JSON.stringify(change).slice(0, 50))
  for (const [fault, change] of [
    ['audience', { aud: null }], ['audience', { aud: [] }], ['audience', { aud: [[clientId]] }], ['audience', { aud: { [clientId]: 1 } }],
    ['audience', { aud: clientId.toUpperCase() }], ['audience', { aud: `${clientId} ` }],
    ['subject', { sub: '' }], ['subject', { sub: null }], ['subject', { sid: null }], ['subject', { sub: 5 }],
    ['subject', { sid: `${long}x` }], ['subject', { sub: `${long}x` }], ['subject', { sub: ['alice'] }],
    ['events', { events: null }], ['events', { events: 'x' }], ['events', { events: {} }], ['events', { events: { other: {} } }],
    ['events', { events: { [logoutEvent]: null } }], ['events', { events: { [logoutEvent]: [] } }],
    ['events', { events: { [logoutEvent]: true } }],
    ['nonce', { nonce: null }], ['nonce', { nonce: '' }],
    ['jti', { jti: '' }], ['jti', { jti: null }], ['jti', { jti: 7 }], ['jti', { jti: `${long}x` }]
  ] as const) t.strictSame(await logOut(change), refused(fault), JSON.stringify(change).slice(0, 50))
})

// Keys

t.test('algorithms of key pairs can be pinned, and a client secret for HS256', async t => {
  const issuer = await testIssuer(t)
  issuer.addKey('ed', 'EdDSA')
  const pinned = await serve(t, issuer, openidHost(), { issuer: { algorithms: ['EdDSA'] } })
  t.strictSame(await pinned.sendToken(issuer.sign('ed', goodClaims(issuer.keyring), { typ: 'logout+jwt' }, 'EdDSA')), done)
  t.strictSame(await pinned.logOut(), refused('algorithm'))

  const secret = Buffer.alloc(32, 'k')
  const shared = await serve(t, issuer, openidHost(), {
    issuers: [{ issuer: issuer.url, clientId, algorithms: ['HS256'], key: secret.toString() }]
  })
  const signedBy = (key: Buffer) => signJwt(key, 'HS256', goodClaims(issuer.keyring), { typ: 'logout+jwt' })
  t.strictSame(await shared.sendToken(signedBy(secret)), done)
  t.strictSame(await shared.sendToken(signedBy(Buffer.alloc(32, 'x'))), refused('signature'))
  t.strictSame(await shared.logOut(), refused('algorithm'))
})

t.test('a key id that is not a string is refused, a missing one is found if there is only one key', async t => {
  const issuer = await testIssuer(t)
  const { logOut } = await serve(t, issuer, openidHost())
  t.strictSame(await logOut({}, { kid: undefined }), done)
  for (const kid of [null, 5, ['k1'], {}]) t.strictSame(await logOut({}, { kid }), refused('signature'), JSON.stringify(kid))
})

t.test('a key set that cannot be reached is 503, and the repeat succeeds', async t => {
  const issuer = await testIssuer(t)
  const host = openidHost()
  host.logIn('phone', { issuer: issuer.url, sid: '08a5019c' })
  const { logOut, lines } = await serve(t, issuer, host, { timeout: 1000 })
  issuer.odd.set(jwksPath, response => response.writeHead(500).end('the secrets of the issuer'))
  t.strictSame(await logOut(), unavailable)
  t.match(lines, [{ level: 50, event: 'logout.outage', msg: 'a logout could not be completed' }])
  await sleep(1100)
  issuer.odd.set(jwksPath, () => {})
  t.strictSame(await logOut(), unavailable, 'and one that hangs')
  issuer.odd.delete(jwksPath)
  await sleep(1100)
  t.strictSame(await logOut(), done)
  t.equal(host.statusOf('phone'), 'logged_out')
})

t.test('an unknown key id is refused, and a second one soon after it is 503: the issuer is not asked again yet', async t => {
  for (const first of ['with keys at hand', 'with the request that brings the keys']) {
    const issuer = await testIssuer(t)
    const { logOut } = await serve(t, issuer, openidHost())
    if (first === 'with keys at hand') t.strictSame(await logOut(), done)
    t.strictSame(await logOut({}, { kid: 'unknown' }), refused('signature'), first)
    const asked = issuer.count(jwksPath)
    t.strictSame(await logOut({}, { kid: 'unknown' }), unavailable, first)
    t.strictSame(await logOut({}, { kid: 'another' }), unavailable, first)
    t.equal(issuer.count(jwksPath), asked)
    t.strictSame(await logOut(), done, 'known keys serve on')
  }
})

// Encrypted tokens

t.test('an encrypted token is decrypted by the first issuer that can, and is that issuer\'s alone', async t => {
  const [issuer, other] = [await testIssuer(t), await testIssuer(t)]
  const host = openidHost()
  const asked: string[] = []
  const plain = new Map([['a.b.c.d.e', logoutToken(issuer.keyring)], ['f.o.r.e.ign', logoutToken(other.keyring)], ['b.a.d.d.y', 'x']])
  const { sendToken } = await serve(t, issuer, host, {
    issuers: [
      { issuer: other.url, clientId, jwksUri: `${other.url}/keys` },
      {
        issuer: `${other.url}/encrypted`,
        clientId,
        jwksUri: `${other.url}/keys`,
        decrypt: jwe => { asked.push(`first ${jwe}`); return undefined }
      },
      {
        issuer: issuer.url,
        clientId,
        jwksUri: `${issuer.url}/keys`,
        decrypt: async jwe => { asked.push(`second ${jwe}`); return plain.get(jwe) }
      }
    ]
  })
  host.logIn('phone', { issuer: issuer.url, sid: '08a5019c' })
  t.strictSame(await sendToken('a.b.c.d.e'), done)
  t.strictSame(asked, ['first a.b.c.d.e', 'second a.b.c.d.e'])
  t.equal(host.statusOf('phone'), 'logged_out')
  t.strictSame(await sendToken('f.o.r.e.ign'), refused('unknown issuer'))
  t.strictSame(await sendToken('b.a.d.d.y'), refused('not a signed token'))
  t.strictSame(await sendToken('n.o.b.o.dys'), refused('encrypted'))
  t.strictSame(await sendToken(logoutToken(issuer.keyring)), refused('not encrypted'))
  t.strictSame(await sendToken(logoutToken(other.keyring)), done)
})

t.test('without decrypt an encrypted token is refused; a decrypt that fails or is late is 503', async t => {
  const issuer = await testIssuer(t)
  t.strictSame(await (await serve(t, issuer, openidHost())).sendToken('a.b.c.d.e'), refused('encrypted'))
  const failing = await serve(t, issuer, openidHost(), { issuer: { decrypt: () => { throw new Error('the HSM is down') } } })
  t.strictSame(await failing.sendToken('a.b.c.d.e'), unavailable)
  const late = await serve(t, issuer, openidHost(), { timeout: 20, issuer: { decrypt: () => new Promise(() => {}) } })
  t.strictSame(await late.sendToken('a.b.c.d.e'), unavailable)
  const none = await serve(t, issuer, openidHost(), { issuer: { decrypt: () => null as never } })
  t.strictSame(await none.sendToken('a.b.c.d.e'), refused('encrypted'))
})

// Outages

t.test('an index that fails or is late is 503, and ends nothing', async t => {
  const issuer = await testIssuer(t)
  const host = openidHost()
  host.logIn('phone', { issuer: issuer.url, sid: '08a5019c' })
  for (const logOut of [
    () => { throw new Error('the password of the database') }, async () => { throw new Error('down') }, () => new Promise<never>(() => {}),
    () => undefined as never, () => null as never
  ]) {
    const server = await serve(t, issuer, host, { index: { logOut }, timeout: 50 })
    t.strictSame(await server.logOut(), unavailable)
    t.match(server.lines, [{ level: 50, event: 'logout.outage' }])
  }
  t.equal(host.statusOf('phone'), 'active')
})

t.test('a session that cannot be ended is 503: the others stay ended and were told, and the repeat finishes', async t => {
  const issuer = await testIssuer(t)
  const host = openidHost()
  for (const id of ['one', 'two', 'three', 'four']) host.logIn(id, { issuer: issuer.url, sid: '08a5019c' })
  let down = true
  const failing: Record<string, () => unknown> = { one: () => { throw new Error('down') }, three: () => new Promise(() => {}) }
  const sessions = {
    logOutById: (query: { id: string, subject: string }) => {
      const fail = down ? failing[query.id] : undefined
      return fail === undefined ? host.sessions.logOutById(query) : fail() as never
    }
  }
  const asked: BackChannelLogout[] = []
  const { logOut, lines } = await serve(t, issuer, host, {
    sessions, timeout: 600, alsoEnd: logout => { asked.push(logout) }, route: { parallel: 1 }
  })
  t.strictSame(await logOut(), unavailable)
  await until(() => host.told().length === 2)
  t.strictSame(host.told(), ['two', 'four'])
  t.strictSame(asked, [], 'alsoEnd waits for the sessions')
  t.match(lines[0], { level: 50, event: 'logout.outage' })
  down = false
  t.strictSame(await logOut(), done)
  t.strictSame(host.told(), ['two', 'four', 'one', 'three'])
  t.equal(asked.length, 1)
})

t.test('what succeeds after the timeout is told and finished all the same, once', async t => {
  const issuer = await testIssuer(t)
  const host = openidHost()
  host.logIn('phone', { issuer: issuer.url, sid: '08a5019c' })
  const asked: string[] = []
  const late = <T>(value: T) => sleep(1000, value)
  const slow = { logOutById: async (query: { id: string, subject: string }) => late(host.sessions.logOutById(query)) }
  const byStore = await serve(t, issuer, host, { sessions: slow, timeout: 400, alsoEnd: () => { asked.push('store') } })
  t.strictSame(await byStore.logOut(), unavailable)
  t.strictSame(host.told(), [])
  await until(() => host.told().length === 1)
  await sleep(20)
  t.strictSame([host.told(), asked], [['phone'], []], 'that call was late by itself: what follows waits for the repeat')

  host.logIn('tablet', { issuer: issuer.url, sid: '08a5019c' })
  const byIndex = await serve(t, issuer, host, {
    index: { logOut: logout => late(host.index.logOut(logout)) }, timeout: 400, alsoEnd: () => { asked.push('index') }
  })
  t.strictSame(await byIndex.logOut(), unavailable)
  await until(() => asked.length === 1)
  t.strictSame([host.told(), asked], [['phone', 'tablet'], ['index']])
})

t.test('ending all sessions has one timeout, and goes on after it', async t => {
  const issuer = await testIssuer(t)
  const host = openidHost()
  const ids = Array.from({ length: 40 }, (_, place) => `s${place}`)
  for (const id of ids) host.logIn(id, { issuer: issuer.url, sid: '08a5019c' })
  let most = 0
  let under = 0
  const sessions = {
    logOutById: async (query: { id: string, subject: string }) => {
      most = Math.max(most, ++under)
      await sleep(100)
      under--
      return host.sessions.logOutById(query)
    }
  }
  const asked: number[] = []
  const alsoEnd = ({ sessions }: BackChannelLogout) => { asked.push(sessions.length) }
  const { logOut } = await serve(t, issuer, host, { sessions, timeout: 400, route: { parallel: 4 }, alsoEnd })
  t.strictSame(await logOut(), unavailable)
  t.ok(host.told().length < 40, 'it did not wait for all')
  await until(() => asked.length > 0)
  t.equal(host.told().length, 40)
  t.equal(most, 4, 'four at once')
  t.strictSame(asked, [40], 'what follows is done when all are ended')
})

t.test('10,000 sessions of a user are ended, at most 16 at once', async t => {
  const issuer = await testIssuer(t)
  const host = openidHost()
  const ids = Array.from({ length: 10_000 }, (_, place) => ({ sessionId: `s${place}`, subject: 'host-alice' }))
  const ended: string[] = []
  const { logOut } = await serve(t, issuer, host, {
    index: { logOut: () => ids },
    sessions: { logOutById: async ({ id, subject }) => { ended.push(id); return { id, subject } } },
    timeout: 60_000
  })
  t.strictSame(await logOut(), done)
  t.equal(new Set(ended).size, 10_000)
  t.equal(host.told().length, 10_000)
})

t.test('the client hangs up: the work goes on', async t => {
  const issuer = await testIssuer(t)
  const host = openidHost()
  host.logIn('phone', { issuer: issuer.url, sid: '08a5019c' })
  const hangUp = new AbortController()
  const { app } = await serve(t, issuer, host, {
    index: {
      logOut: async logout => {
        hangUp.abort()
        return sleep(100, host.index.logOut(logout))
      }
    }
  })
  const origin = await app.listen({ port: 0, host: '127.0.0.1' })
  const body = `logout_token=${logoutToken(issuer.keyring)}`
  await t.rejects(fetch(`${origin}${path}`, { method: 'POST', headers: { 'content-type': form }, body, signal: hangUp.signal }))
  await until(() => host.told().length > 0)
  t.equal(host.statusOf('phone'), 'logged_out')
})

// The host's functions

t.test('alsoEnd is asked for every good token, with what it names and the sessions, after they ended', async t => {
  const issuer = await testIssuer(t)
  const host = openidHost()
  const asked: unknown[] = []
  const { logOut } = await serve(t, issuer, host, {
    logoutToken: { sidEnds: 'subject' },
    alsoEnd: (logout, { url }) => {
      asked.push({ ...logout, url, status: logout.sessions.map(({ sessionId }) => host.statusOf(sessionId)) })
    }
  })
  const about = { issuer: issuer.url, url: path, status: [], sessions: [], offline: false }
  t.strictSame(await logOut({ sid: 'nobody', sub: undefined }), done)
  t.strictSame(asked.pop(), { ...about, sid: 'nobody' })
  host.logIn('phone', { issuer: issuer.url, sid: '08a5019c' })
  for (const round of ['first', 'again']) {
    t.strictSame(await logOut(), done)
    t.strictSame(asked.pop(), {
      ...about, sid: '08a5019c', subject: 'alice', sessions: [{ sessionId: 'phone', subject: 'host-alice' }], status: ['logged_out']
    }, round)
  }
  t.strictSame(await logOut({ sub: 'bob', sid: undefined, events: { [logoutEvent]: {}, revoke_offline_access: true } }), done)
  t.strictSame(asked.pop(), { ...about, subject: 'bob', offline: true })
  for (const value of [false, 'true', 1, {}]) {
    t.strictSame(await logOut({ events: { [logoutEvent]: {}, revoke_offline_access: value } }), done)
    t.match(asked.pop(), { offline: false }, JSON.stringify(value))
  }
})

t.test('an alsoEnd that fails or is late is 503 after the sessions ended, and the repeat asks it again', async t => {
  const issuer = await testIssuer(t)
  const host = openidHost()
  host.logIn('phone', { issuer: issuer.url, sid: '08a5019c' })
  const answers = [() => { throw new Error('down') }, () => new Promise(() => {}), () => 'done']
  const { logOut } = await serve(t, issuer, host, { alsoEnd: () => answers.shift()?.(), timeout: 500 })
  t.strictSame(await logOut(), unavailable)
  t.equal(host.statusOf('phone'), 'logged_out')
  t.strictSame(await logOut(), unavailable)
  t.strictSame(await logOut(), done)
  t.strictSame(host.told(), ['phone'])
})

t.test('an onLogout that fails or is late is logged, and changes nothing', async t => {
  const issuer = await testIssuer(t)
  for (const onLogout of [() => { throw new Error('no mail') }, async () => { throw new Error('no mail') }, () => new Promise(() => {})]) {
    const host = openidHost()
    host.logIn('phone', { issuer: issuer.url, sid: '08a5019c' })
    const { logOut, lines } = await serve(t, issuer, host, { onLogout, timeout: 500 })
    t.strictSame(await logOut(), done)
    t.match(lines, [{ level: 50, event: 'logout.hook-failed' }])
  }
})

t.test('onLogout is told of sessions that were live, whatever kind of session the host has', async t => {
  const issuer = await testIssuer(t)
  const found: Record<string, unknown> = {
    active: { id: 'active', subject: 'alice', status: 'active', expiresAt: Date.now() + hour },
    plain: { id: 'plain', subject: 'alice' },
    expired: { id: 'expired', subject: 'alice', status: 'active', expiresAt: Date.now() - 1 },
    ended: { id: 'ended', subject: 'alice', status: 'logged_out', expiresAt: Date.now() + hour },
    unknown: undefined,
    none: null,
    odd: true
  }
  const host = openidHost()
  const asked: unknown[] = []
  const { logOut } = await serve(t, issuer, host, {
    index: { logOut: () => Object.keys(found).map(sessionId => ({ sessionId, subject: 'alice' })) },
    sessions: { logOutById: query => { asked.push(query); return found[query.id] as never } }
  })
  t.strictSame(await logOut(), done)
  t.strictSame(host.events, [{ scope: 'session', session: found['active'] }, { scope: 'session', session: found['plain'] }])
  t.strictSame(asked, Object.keys(found).map(id => ({ id, subject: 'alice' })))
})

// The host

t.test('errors of hooks of the host keep their status, with the reason phrase as their name', async t => {
  const issuer = await testIssuer(t)
  const names = { 401: 'unauthorized', 403: 'forbidden', 418: 'i_m_a_teapot', 500: 'server_error', 503: 'temporarily_unavailable' }
  for (const [code, error] of Object.entries(names)) {
    const status = Number(code)
    const { app, logOut } = await serve(t, issuer, openidHost())
    app.addHook('onRequest', async () => { throw Object.assign(new Error('a secret of the host'), { statusCode: status }) })
    t.strictSame(await logOut(), failure(status, error, undefined, status === 503 ? { 'retry-after': '5' } : {}))
  }
})

t.test('a rate limit counts addresses, and is off by default', async t => {
  const issuer = await testIssuer(t)
  const { logOut } = await serve(t, issuer, openidHost(), { route: { rateLimit: { max: 2, window: 60_000, headers: 'none' } } })
  t.strictSame(await logOut(), done)
  t.strictSame(await logOut(), done)
  t.strictSame(await logOut(), failure(429, 'too_many_requests', undefined, { 'retry-after': '60' }))
  const standard = await serve(t, issuer, openidHost(), { route: { rateLimit: {} } })
  t.match(await standard.logOut(), { status: 200, headers: { 'x-ratelimit-limit': '300', 'x-ratelimit-reset': '60' } })
})

t.test('misuse is a TypeError that names the option', async t => {
  const issuer = { issuer: 'https://login.example', clientId: 'shop' }
  const host = openidHost()
  const valid = { issuers: [issuer], index: host.index, sessions: host.sessions, sessionLifetime: hour }
  await assertMisuse(t, backChannelLogout as never, 'backChannelLogout', valid, {
    index: [undefined, null, {}, { logOut: 1 }],
    sessions: [undefined, null, {}],
    sessionLifetime: [undefined, 0, -1, NaN, '1', null],
    path: ['/x'],
    rateLimit: [{}],
    security: [[]],
    parallel: [2],
    sidEnds: ['subject'],
    maxAge: [1000],
    clockTolerance: [0],
    maxLength: [10],
    route: [null, 'x', []],
    'route.path': ['x', 5, null],
    logoutToken: [null, 'x'],
    'logoutToken.sidEnds': ['both', null],
    alsoEnd: [5, null],
    onLogout: [5, null],
    timeout: [0, -1, '5'],
    'logoutToken.maxAge': [0, NaN],
    'logoutToken.clockTolerance': [-1, 0.5],
    'logoutToken.maxLength': [0, 1.5],
    'route.parallel': [0, 1.5],
    issuers: [undefined, [], 'x']
  })
  const key = 'k'.repeat(32)
  const wrongMembers: Readonly<Record<string, readonly object[]>> = {
    issuer: [{ issuer: '' }, { issuer: 5 }, { issuer: 'http://login.example' }, { issuer: 'x' }],
    clientId: [{ clientId: '' }, { clientId: undefined }, { clientId: [] }],
    algorithms: [{ algorithms: [] }, { algorithms: ['none'] }, { algorithms: ['RS256', 'HS256'] }, { algorithms: 'RS256' }],
    tolerate: [{ tolerate: ['typeless'] }, { tolerate: 'untyped' }],
    decrypt: [{ decrypt: 'x' }],
    jwksUri: [{ jwksUri: 'http://login.example/keys' }],
    discoveryUri: [{ discoveryUri: 'http://login.example/' }, { jwksUri: 'https://a.example/', discoveryUri: 'https://a.example/' }],
    key: [
      { key }, { key: key.slice(1), algorithms: ['HS256'] }, { key: 5, algorithms: ['HS256'] }, { key, algorithms: ['HS256', 'HS512'] },
      { key, algorithms: ['HS256', 'RS256'] }, { key, algorithms: ['HS256'], jwksUri: 'https://login.example/keys' },
      { key, algorithms: ['HS256'], discoveryUri: 'https://login.example/keys' }
    ]
  }
  const misuse = [
    ...Object.entries(wrongMembers).flatMap(([name, changes]) => {
      return changes.map(change => [`issuers[0].${name}`, [{ ...issuer, ...change }]] as const)
    }),
    ['issuers[0]', [null]], ['issuers[0]', [5]], ['issuers', [issuer, issuer]]
  ] as const
  for (const [option, issuers] of misuse) {
    const registered = Promise.resolve(Fastify().register(backChannelLogout, { ...valid, issuers: issuers as never }))
    const message = new RegExp(`^backChannelLogout: option "${option.replace(/[[\].]/g, '\\$&')}" must `)
    await t.rejects(registered, { name: 'TypeError', message }, `${option}: ${JSON.stringify(issuers)}`)
  }
})

t.test('as a function of its options it infers the type of the session for onLogout', async t => {
  const issuer = await testIssuer(t)
  const host = openidHost()
  host.logIn('phone', { issuer: issuer.url, sid: '08a5019c' })
  const expiries: number[] = []
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(backChannelLogout({
    issuers: [{ issuer: issuer.url, clientId, jwksUri: `${issuer.url}/keys` }],
    index: host.index,
    sessions: host.sessions,
    sessionLifetime: hour,
    onLogout: event => { if (event.scope === 'session') expiries.push(event.session.expiresAt) }
  }))
  const payload = `logout_token=${logoutToken(issuer.keyring)}`
  t.equal((await app.inject({ method: 'POST', url: path, payload, headers: { 'content-type': form } })).statusCode, 200)
  t.equal(expiries.length, 1)
})

t.test('the OpenAPI document has the form, every status and the security that the host names', async t => {
  const schemas: Array<Record<string, unknown>> = []
  for (const options of [{}, { prefix: '/auth', route: { path: '/out', security: [{ provider: [] }] } }]) {
    const app = Fastify()
    t.teardown(() => app.close())
    app.addHook('onRoute', ({ schema, url }) => { schemas.push({ ...schema, url }) })
    const { index, sessions } = openidHost()
    const issuers = [{ issuer: 'https://login.example', clientId }]
    await app.register(backChannelLogout, { issuers, index, sessions, sessionLifetime: hour, ...options })
  }
  const [plain, secured] = schemas
  t.match(plain, { url: path, operationId: 'backChannelLogout', tags: ['logout'], consumes: [form], body: { required: ['logout_token'] } })
  t.strictSame(Object.keys(plain?.['response'] ?? {}), ['200', '400', '413', '429', '503', '4xx', '5xx'])
  t.notOk(plain && 'security' in plain)
  t.match(secured, { url: '/auth/out', operationId: 'backChannelLogoutAuthOut', security: [{ provider: [] }] })
})
