import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'

import type { Client } from '../../lib/internal/oauth/client-authentication.ts'
import { tokenVerifierRules } from '../../lib/conformance/token-verifier.ts'
import type { SignatureAlgorithm } from '../../lib/internal/jose/signature-algorithm.ts'
import { TokenRejectedError, type VerifyToken } from '../../lib/token-verifier.ts'
import { fastJwtVerifier } from '../../lib/token-verifiers/fast-jwt.ts'
import { introspectionVerifier, type IntrospectionVerifierOptions } from '../../lib/token-verifiers/introspection.ts'
import { introspectionPath, startIssuer, type Issuer } from '../servers/issuer.ts'

type Test = Pick<typeof t, 'teardown'>

const audience = 'https://api.example'
const client: Client = { id: 'api', secret: 'a secret', method: 'basic' }
const seconds = () => Math.floor(Date.now() / 1000)

async function issuerFor (t: Test): Promise<Issuer> {
  const issuer = await startIssuer()
  t.teardown(() => issuer.close())
  return issuer
}

function verifierFor (issuer: Issuer, options: Partial<IntrospectionVerifierOptions> = {}): VerifyToken {
  return introspectionVerifier({ endpoint: `${issuer.url}${introspectionPath}`, client, ...options })
}

function active (others: object = {}): object {
  return { active: true, sub: 'alice', exp: seconds() + 60, ...others }
}

async function outcome (verify: VerifyToken, token: string): Promise<unknown> {
  try {
    return (await verify(token))['sub']
  } catch (error) {
    return error instanceof TokenRejectedError ? error.reason : 'outage'
  }
}

for (const [kind, cacheFor] of [['opaque', 0], ['opaque', 60_000], ['signed', 0]] as const) {
  t.test(`with ${kind} tokens, cached for ${cacheFor} ms, it follows the rules of verifiers`, async (t) => {
    const issuer = await issuerFor(t)
    const publicKey = issuer.addKey('one').export({ type: 'spki', format: 'pem' }).toString()
    for (const rule of tokenVerifierRules) {
      await t.resolves(rule.check(() => {
        issuer.odd.clear()
        return {
          issuer: issuer.url,
          audience,
          publicKey,
          verifyToken: verifierFor(issuer, { issuer: issuer.url, audience, cache: { maxAge: cacheFor } }),
          mint: (claims, header) => {
            if (kind === 'opaque') return issuer.issueOpaque({ active: true, ...claims })
            const token = issuer.sign('one', claims, header)
            issuer.introspected.set(token, { active: header?.['crit'] === undefined, ...claims })
            return token
          },
          breakSource: () => { issuer.odd.set(introspectionPath, response => response.destroy()) }
        }
      }), rule.name)
    }
  })
}

t.test('it returns the claims of an active token, deeply frozen and without active', async (t) => {
  const issuer = await issuerFor(t)
  const token = issuer.issueOpaque(active({ client_id: 'app', scope: 'a b', ext: { roles: ['a'] }, username: null }))
  const claims = await verifierFor(issuer)(token)
  t.strictSame(Object.keys(claims), ['sub', 'exp', 'client_id', 'scope', 'ext', 'username'])
  t.throws(() => Object.assign(Object(claims['ext']).roles, { 0: 'b' }), TypeError)
  t.same(issuer.seen[0]?.form.get('token'), token)
  t.same(issuer.seen[0]?.form.get('token_type_hint'), 'access_token')
})

t.test('an inactive token is refused, and any unclear response is an outage', async (t) => {
  const issuer = await issuerFor(t)
  const verify = verifierFor(issuer)
  const token = issuer.issueOpaque(active())
  t.equal(await outcome(verify, token), 'alice')
  issuer.introspected.set(token, { active: false })
  t.equal(await outcome(verify, token), 'revoked')
  t.equal(await outcome(verify, 'never-issued'), 'revoked')
  issuer.introspected.set(token, { active: false, sub: 'alice', exp: seconds() + 60 })
  t.equal(await outcome(verify, token), 'revoked')

  const say = (body: string) => (response: import('node:http').ServerResponse) => response.writeHead(200).end(body)
  const rows: ReadonlyArray<[string, Parameters<typeof issuer.odd.set>[1], RegExp]> = [
    ['our request is wrong', response => response.writeHead(400).end('{"error":"invalid_request"}'), /status 400/],
    ['our request is wrong, says a page', response => response.writeHead(400).end('<html>'), /not JSON/],
    ['our credentials are wrong', response => response.writeHead(400).end('{"error":"invalid_client","active":true}'), /status 400/],
    ['our credentials are wrong', response => response.writeHead(401).end('{"error":"invalid_client"}'), /status 401/],
    ['we may not ask', response => response.writeHead(403).end('{"active":false}'), /status 403/],
    ['the endpoint does not exist', response => response.writeHead(404).end(), /status 404/],
    ['it is overrun', response => response.writeHead(429).end(), /status 429/],
    ['it fails', response => response.writeHead(500).end('{"active":false}'), /status 500/],
    ['it is away', response => response.writeHead(503).end(), /status 503/],
    ['it has moved', response => response.writeHead(307, { location: introspectionPath }).end(), /status 307/],
    ['it says nothing', say(''), /not JSON/],
    ['it shows a page', say('<html>'), /not JSON/],
    ['it forgot active', say('{"sub":"alice"}'), /whether the token is active/],
    ['active is a word', say('{"active":"false"}'), /whether the token is active/],
    ['active is null', say('{"active":null}'), /whether the token is active/],
    ['it says null', say('null'), /whether the token is active/],
    ['it says false', say('false'), /whether the token is active/],
    ['it says too much', say(JSON.stringify({ active: true, x: 'x'.repeat(5000) })), /longer than 4096/],
    ['it hangs', () => {}, /within 100 ms/],
    ['it stops midway', response => response.writeHead(200).write('{"active":'), /within 100 ms/]
  ]
  for (const [what, answer, cause] of rows) {
    issuer.odd.set(introspectionPath, answer)
    const timeout = cause.source.includes('within') ? 100 : 30_000
    const verify = verifierFor(issuer, { http: { timeout, maxResponseLength: 4096 } })
    const error: Error = await Promise.resolve(verify(token)).then(() => new Error('accepted'), reason => reason)
    t.notMatch(error, { name: 'TokenRejectedError' }, what)
    t.match(error, { message: /could not say/, cause: { message: cause } }, what)
    t.notMatch(`${error.message} ${String(error.cause)}`, token)
  }
})

t.test('an active token is refused if its audience, issuer, times or required claims are wrong', async (t) => {
  const issuer = await issuerFor(t)
  const verify = verifierFor(issuer, { issuer: issuer.url, audience, claims: { required: ['client_id'] } })
  const full = { iss: issuer.url, aud: audience, client_id: 'app' }
  t.equal(await outcome(verify, issuer.issueOpaque(active(full))), 'alice')
  t.equal(await outcome(verify, issuer.issueOpaque(active({ ...full, aud: ['other', audience] }))), 'alice')
  for (const [changes, expected] of [
    [{ iss: undefined }, 'untrusted'], [{ iss: 'https://other.example' }, 'untrusted'], [{ aud: undefined }, 'untrusted'],
    [{ aud: 'other' }, 'untrusted'], [{ client_id: undefined }, 'untrusted'],
    [{ exp: seconds() - 1 }, 'expired'], [{ exp: undefined }, 'untrusted'],
    [{ nbf: seconds() + 60 }, 'untrusted'], [{ sub: 7 }, 'malformed']
  ] as const) {
    t.equal(await outcome(verify, issuer.issueOpaque(active({ ...full, ...changes }))), expected, JSON.stringify(changes))
  }
})

t.test('without the options issuer and audience, neither claim is required', async (t) => {
  const issuer = await issuerFor(t)
  t.equal(await outcome(verifierFor(issuer), issuer.issueOpaque(active())), 'alice')
  t.equal(await outcome(verifierFor(issuer), issuer.issueOpaque(active({ aud: null, iss: null }))), 'alice')
  t.equal(await outcome(verifierFor(issuer, { claims: { requireExpiry: false } }), issuer.issueOpaque(active({ exp: undefined }))), 'alice')
  t.equal(await outcome(verifierFor(issuer, { claims: { requireExpiry: false } }), issuer.issueOpaque(active({ exp: null }))), 'alice')
})

t.test('active refresh tokens and ID tokens are refused', async (t) => {
  const issuer = await issuerFor(t)
  const verify = verifierFor(issuer)
  for (const kind of [{ token_use: 'refresh_token' }, { token_use: 'id_token' }, { typ: 'Refresh' }, { typ: 'Offline' }, { typ: 'ID' }]) {
    t.equal(await outcome(verify, issuer.issueOpaque(active(kind))), 'untrusted', JSON.stringify(kind))
  }
  for (const kind of [{ token_use: 'access_token' }, { typ: 'Bearer' }, { token_type: 'Bearer' }]) {
    t.equal(await outcome(verify, issuer.issueOpaque(active(kind))), 'alice', JSON.stringify(kind))
  }
})

t.test('a token of a type that the server does not support is refused, which is not an outage', async (t) => {
  const issuer = await issuerFor(t)
  issuer.odd.set(introspectionPath, response => response.writeHead(400).end('{"error":"unsupported_token_type"}'))
  t.equal(await outcome(verifierFor(issuer), 'eyJhbGciOiJub25lIn0.e30.'), 'revoked')
  issuer.odd.set(introspectionPath, response => response.writeHead(200).end('{"error":"unsupported_token_type"}'))
  t.equal(await outcome(verifierFor(issuer), 'eyJhbGciOiJub25lIn0.e30.'), 'outage', 'only with its status')
})

t.test('an empty or too long token is refused without asking', async (t) => {
  const issuer = await issuerFor(t)
  const verify = verifierFor(issuer, { maxTokenLength: 100 })
  t.equal(await outcome(verify, ''), 'malformed')
  t.equal(await outcome(verify, 'a'.repeat(101)), 'malformed')
  t.equal(issuer.seen.length, 0)
})

t.test('concurrent callers with one token share one request, also if it fails', async (t) => {
  const issuer = await issuerFor(t)
  const verify = verifierFor(issuer)
  const token = issuer.issueOpaque(active())
  const other = issuer.issueOpaque(active({ sub: 'bob' }))
  const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => outcome(verify, i % 2 === 0 ? token : other)))
  t.same(new Set(answers), new Set(['alice', 'bob']))
  t.equal(issuer.seen.length, 2)
  await outcome(verify, token)
  t.equal(issuer.seen.length, 3, 'a later caller asks again: nothing is remembered by default')
  issuer.odd.set(introspectionPath, response => response.writeHead(503).end())
  t.same(await Promise.all([outcome(verify, token), outcome(verify, token)]), ['outage', 'outage'])
  t.equal(issuer.seen.length, 4)
  issuer.odd.clear()
  t.equal(await outcome(verify, token), 'alice', 'a failure is not remembered')
})

t.test('an active token is cached for cache.maxAge, an inactive one is never cached', async (t) => {
  const issuer = await issuerFor(t)
  const verify = verifierFor(issuer, { cache: { maxAge: 500 } })
  const token = issuer.issueOpaque(active())
  t.equal(await outcome(verify, token), 'alice')
  issuer.introspected.delete(token)
  t.match(verify(token), { sub: 'alice' }, 'at once, and revoked in vain')
  t.equal(issuer.seen.length, 1)
  await sleep(520)
  t.equal(await outcome(verify, token), 'revoked')
  issuer.introspected.set(token, active())
  t.equal(await outcome(verify, token), 'alice')
})

t.test('nothing is cached beyond its exp', async (t) => {
  const issuer = await issuerFor(t)
  const verify = verifierFor(issuer, { cache: { maxAge: 60_000 }, claims: { acceptExpiredFor: 60_000 } })
  const token = issuer.issueOpaque(active({ exp: seconds() + 2 }))
  t.equal(await outcome(verify, token), 'alice')
  await sleep(2100)
  issuer.introspected.set(token, { active: false })
  t.equal(await outcome(verify, token), 'revoked')
  const endless = issuer.issueOpaque(active({ exp: undefined }))
  const trusting = verifierFor(issuer, { cache: { maxAge: 60_000 }, claims: { requireExpiry: false } })
  t.equal(await outcome(trusting, endless), 'alice')
  t.match(trusting(endless), { sub: 'alice' })
})

t.test('acceptExpiredFor accepts an expired token that the server still calls active', async (t) => {
  const issuer = await issuerFor(t)
  const token = issuer.issueOpaque(active({ exp: seconds() - 30 }))
  t.equal(await outcome(verifierFor(issuer), token), 'expired')
  t.equal(await outcome(verifierFor(issuer, { claims: { acceptExpiredFor: 60_000 } }), token), 'alice')
})

t.test('other spellings of a token are refused without asking, because a lenient server might accept them', async (t) => {
  const issuer = await issuerFor(t)
  issuer.addKey('one')
  const opaque = issuer.issueOpaque(active())
  const signed = issuer.sign('one', { sub: 'alice' })
  issuer.odd.set(introspectionPath, response => response.end(JSON.stringify(active())))
  const verify = verifierFor(issuer)
  for (const token of [opaque, signed, 'a~b+c/d==', `${signed}.x.y`, 'eyJ.opaque']) t.equal(await outcome(verify, token), 'alice', token)
  const asked = issuer.seen.length
  for (const token of [opaque, signed]) {
    const spaced = [`${token}\n`, ` ${token}`, `${token}\t`, `${token}\u00a0`, `\ufeff${token}`, `${token.slice(0, 9)} ${token.slice(9)}`]
    for (const other of [...spaced, `${token}\0`, `${token}ü`]) {
      t.equal(await outcome(verify, other), 'malformed', JSON.stringify(other))
    }
  }
  for (const other of [`${signed}=`, `${signed}==`, `${signed.slice(0, -1)}!`, signed.slice(0, -1)]) {
    t.equal(await outcome(verify, other), 'malformed', other)
  }
  t.equal(issuer.seen.length, asked)
})

t.test('a deep or broad response is returned frozen like any other', async (t) => {
  const issuer = await issuerFor(t)
  const verify = verifierFor(issuer, { http: { maxResponseLength: 1024 * 1024 } })
  for (const deep of [`${'['.repeat(100_000)}${']'.repeat(100_000)}`, `[${'0,'.repeat(200_000)}0]`]) {
    issuer.odd.set(introspectionPath, response => response.end(JSON.stringify(active()).replace('}', `,"deep":${deep}}`)))
    const claims = await verify('token')
    t.ok(Object.isFrozen(claims['deep']))
  }
})

t.test('the cache is bounded: the oldest entry is dropped', async (t) => {
  const issuer = await issuerFor(t)
  const verify = verifierFor(issuer, { cache: { maxAge: 60_000, size: 2 } })
  const tokens = [1, 2, 3].map(() => issuer.issueOpaque(active()))
  for (const token of tokens) await verify(token)
  t.match(verify(String(tokens[2])), { sub: 'alice' }, 'at once')
  t.equal(issuer.seen.length, 3)
  await verify(String(tokens[0]))
  t.equal(issuer.seen.length, 4)
})

t.test('the client authenticates to the server in the header or in the form', async (t) => {
  const issuer = await issuerFor(t)
  await verifierFor(issuer)(issuer.issueOpaque(active()))
  await verifierFor(issuer, { client: { ...client, method: 'post' } })(issuer.issueOpaque(active()))
  const [basic, post] = issuer.seen
  t.equal(basic?.authorization, `Basic ${Buffer.from('api:a+secret').toString('base64')}`)
  t.equal(basic?.form.get('client_secret'), null)
  t.equal(post?.authorization, undefined)
  t.equal(post?.form.get('client_secret'), 'a secret')
})

const pairs: ReadonlyArray<[SignatureAlgorithm, { publicKey: KeyObject, privateKey: KeyObject }]> = [
  ['RS256', generateKeyPairSync('rsa', { modulusLength: 2048 })],
  ['PS256', generateKeyPairSync('rsa', { modulusLength: 2048 })],
  ['ES384', generateKeyPairSync('ec', { namedCurve: 'P-384' })],
  ['EdDSA', generateKeyPairSync('ed25519')]
]

for (const [algorithm, { publicKey, privateKey }] of pairs) {
  t.test(`by private_key_jwt with ${algorithm}, each request carries an assertion of its own`, async (t) => {
    const issuer = await issuerFor(t)
    const endpoint = `${issuer.url}${introspectionPath}`
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
    for (const key of [pem, Buffer.from(pem), privateKey]) {
      const verify = verifierFor(issuer, { client: { id: 'api', privateKey: key, method: 'private_key_jwt', algorithm, keyId: 'mine' } })
      await verify(issuer.issueOpaque(active()))
    }
    const check = fastJwtVerifier({ key: publicKey, algorithms: [algorithm], issuer: 'api', audience: endpoint })
    const ids = issuer.seen.map(({ form, authorization }) => {
      t.equal(authorization, undefined)
      t.equal(form.get('client_id'), 'api')
      t.equal(form.get('client_assertion_type'), 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer')
      const assertion = String(form.get('client_assertion'))
      t.same(JSON.parse(Buffer.from(String(assertion.split('.')[0]), 'base64url').toString()), { alg: algorithm, typ: 'JWT', kid: 'mine' })
      const { sub, exp, jti } = check(assertion)
      t.equal(sub, 'api')
      t.ok(Number(exp) - seconds() <= 60)
      return jti
    })
    t.equal(new Set(ids).size, 3)
  })
}

t.test('misconfiguration is a TypeError that names the option and holds no secret', async (t) => {
  const good: IntrospectionVerifierOptions = { endpoint: 'https://issuer.example/introspect', client }
  t.doesNotThrow(() => introspectionVerifier(good))
  const rows: ReadonlyArray<[object, RegExp]> = [
    [{ endpoint: undefined }, /"endpoint"/],
    [{ endpoint: 'http://issuer.example/introspect' }, /"endpoint"/],
    [{ endpoint: 'https://api:hunter2@issuer.example/' }, /"endpoint"/],
    [{ client: undefined }, /"client"/],
    [{ client: null }, /"client"/],
    [{ client: { ...client, secret: undefined } }, /"client\.secret"/],
    [{ issuer: '' }, /"issuer"/],
    [{ issuer: undefined }, /"issuer"/],
    [{ audience: [] }, /"audience"/],
    [{ audience: undefined }, /"audience"/],
    [{ claims: { requireExpiry: 'no' } }, /"claims.requireExpiry"/],
    [{ claims: null }, /"claims" must be an object/],
    [{ cache: 1000 }, /"cache" must be an object/],
    [{ http: null }, /"http" must be an object/],
    [{ cache: { maxAge: -1 } }, /"cache.maxAge"/],
    [{ cache: { maxAge: '1m' } }, /"cache.maxAge"/],
    [{ cache: { size: 0 } }, /"cache.size"/],
    [{ http: { timeout: 0 } }, /"http.timeout"/],
    [{ http: { maxResponseLength: 0 } }, /"http.maxResponseLength"/],
    [{ maxTokenLength: 0 }, /"maxTokenLength"/],
    [{ http: { fetch: {} } }, /"http.fetch"/]
  ]
  for (const [wrong, message] of rows) {
    const make = () => introspectionVerifier({ ...good, ...wrong })
    t.throws(make, { name: 'TypeError', message }, JSON.stringify(wrong))
    try { make() } catch (error) { t.notMatch(String(error), /hunter2|a secret'/) }
  }
})
