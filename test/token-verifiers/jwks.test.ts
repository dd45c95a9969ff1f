import { createHash, generateKeyPairSync } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'

import { tokenVerifierRules } from '../../lib/conformance/token-verifier.ts'
import { TokenRejectedError, type Claims, type VerifyToken } from '../../lib/token-verifier.ts'
import { jwksVerifier, type JwksIssuer, type JwksVerifierOptions } from '../../lib/token-verifiers/jwks.ts'
import { discoveryPath, jwksPath, startIssuer, type Issuer } from '../servers/issuer.ts'
import { algorithmsOfPairs, forgeriesOf, mismatchesOf, pairs, secret, tokenOfEach, type NamedToken } from './every-algorithm.ts'

type Test = Pick<typeof t, 'teardown'>

const audience = 'https://api.example'
const seconds = () => Math.floor(Date.now() / 1000)

async function issuerFor (t: Test, ...kids: string[]): Promise<Issuer> {
  const issuer = await startIssuer()
  t.teardown(() => issuer.close())
  for (const kid of kids) issuer.addKey(kid)
  return issuer
}

function entry (issuer: Issuer, changes: Partial<JwksIssuer> = {}): JwksIssuer {
  return { issuer: issuer.url, audience, algorithms: ['ES256'], jwksUri: `${issuer.url}${jwksPath}`, ...changes }
}

function verifierFor (issuer: Issuer, options: Partial<JwksVerifierOptions> = {}, changes: Partial<JwksIssuer> = {}): VerifyToken {
  return jwksVerifier({ issuers: [entry(issuer, changes)], ...options })
}

function claimsFor (issuer: Issuer, others: Claims = {}): Claims {
  return { iss: issuer.url, aud: audience, sub: 'alice', exp: seconds() + 60, ...others }
}

/** `alice`, the reason of a refusal, or `outage`. */
async function outcome (verify: VerifyToken, token: string): Promise<unknown> {
  try {
    return (await verify(token))['sub']
  } catch (error) {
    return error instanceof TokenRejectedError ? error.reason : 'outage'
  }
}

const ways: ReadonlyArray<[string, Partial<JwksIssuer>]> = [['jwksUri', {}], ['discovery', { jwksUri: undefined }]]

for (const [way, changes] of ways) {
  for (const algorithm of ['RS256', 'ES256', 'EdDSA'] as const) {
    t.test(`with keys by ${way} and ${algorithm} it follows the rules of verifiers`, async (t) => {
      const issuer = await issuerFor(t)
      const publicKey = issuer.addKey('one', algorithm).export({ type: 'spki', format: 'pem' }).toString()
      issuer.addKey('two', algorithm)
      const down = await startIssuer()
      await down.close()
      for (const rule of tokenVerifierRules) {
        await t.resolves(rule.check(() => {
          let source = ''
          return {
            issuer: issuer.url,
            audience,
            publicKey,
            verifyToken: verifierFor(issuer, {
              http: { fetch: (url, init) => fetch(source || url, init) }
            }, { ...changes, algorithms: [algorithm] }),
            mint: (claims, header) => issuer.sign('one', claims, header, algorithm),
            breakSource: () => { source = down.url }
          }
        }), rule.name)
      }
    })
  }
}

t.test('with the key at hand it returns the claims without a promise', async (t) => {
  const issuer = await issuerFor(t, 'one')
  const verify = verifierFor(issuer)
  const token = issuer.sign('one', claimsFor(issuer))
  t.type(verify(token), Promise, 'the first time it asks')
  await verify(token)
  t.match(verify(token), { sub: 'alice' })
  t.notMatch(verify(token), Promise)
  t.equal(issuer.count(jwksPath), 1)
})

t.test('a token chooses among the configured issuers, and no other server is asked', async (t) => {
  const [first, second, stranger] = [await issuerFor(t, 'one'), await issuerFor(t, 'one', 'two'), await issuerFor(t, 'one')]
  const verify = jwksVerifier({ issuers: [entry(first), entry(second, { audience: 'second', jwksUri: undefined })] })
  t.equal(await outcome(verify, first.sign('one', claimsFor(first))), 'alice')
  t.equal(await outcome(verify, second.sign('two', claimsFor(second, { aud: 'second' }))), 'alice')
  t.equal(await outcome(verify, second.sign('two', claimsFor(second))), 'untrusted', 'the audience of the other issuer')
  t.equal(await outcome(verify, second.sign('one', claimsFor(first))), 'untrusted', 'signed by the other issuer')
  t.equal(await outcome(verify, second.sign('two', claimsFor(first))), 'untrusted', 'the key id of the other issuer')
  t.equal(await outcome(verify, stranger.sign('one', claimsFor(stranger))), 'untrusted')
  t.equal(await outcome(verify, first.sign('one', claimsFor(first, { iss: [first.url] }))), 'untrusted')
  const elsewhere = { jku: `${stranger.url}${jwksPath}`, x5u: stranger.url, kid: 'new' }
  t.equal(await outcome(verify, first.sign('one', claimsFor(first), elsewhere)), 'untrusted')
  t.equal(stranger.seen.length, 0)
})

t.test('an algorithm that is not pinned is refused without asking', async (t) => {
  const issuer = await issuerFor(t, 'one')
  const verify = verifierFor(issuer)
  for (const alg of ['RS256', 'HS256', 'none', 'es256', undefined, ['ES256'], 'constructor']) {
    t.equal(await outcome(verify, issuer.sign('one', claimsFor(issuer), { alg })), 'untrusted', String(alg))
  }
  t.equal(issuer.seen.length, 0)
})

t.test('of the tokens of every algorithm, only those of a pinned one are accepted', async t => {
  const issuer = await issuerFor(t)
  for (const kid of algorithmsOfPairs) issuer.jwks.push({ ...pairs[kid]?.publicKey.export({ format: 'jwk' }), kid })
  issuer.jwks.push({ kty: 'oct', kid: 'HS256', k: secret.toString('base64url') })
  const claims = claimsFor(issuer)
  const [tokens, bad] = [tokenOfEach(claims), [...forgeriesOf(claims), ...mismatchesOf(claims)]]
  for (const algorithms of [...algorithmsOfPairs.map(each => [each]), algorithmsOfPairs]) {
    const verify = verifierFor(issuer, {}, { algorithms })
    const outcomes = async (tokens: readonly NamedToken[]) =>
      Promise.all(tokens.map(async ({ name, token }) => `${name}: ${await outcome(verify, token)}`))
    const isPinned = (name: string) => algorithms.some(each => each === name)
    t.strictSame(await outcomes(tokens), tokens.map(({ name }) => `${name}: ${isPinned(name) ? 'alice' : 'untrusted'}`))
    t.strictSame((await outcomes(bad)).filter(each => !/: (?:untrusted|malformed)$/.test(each)), [])
  }
})

t.test('a key verifies only what its use, key_ops, alg and kty allow', async (t) => {
  const issuer = await issuerFor(t)
  const algorithms = ['ES256', 'RS256', 'PS256'] as const
  const publish = (kid: string, algorithm: 'ES256' | 'RS256' | 'PS256', changes: object) => {
    issuer.addKey(kid, algorithm)
    issuer.jwks.push({ ...issuer.jwks.pop(), ...changes })
  }
  const odd: ReadonlyArray<[string, 'ES256' | 'RS256' | 'PS256', object, string]> = [
    ['plain', 'ES256', { use: undefined, alg: undefined }, 'alice'],
    ['operations', 'ES256', { key_ops: ['verify'] }, 'alice'],
    ['encryption', 'ES256', { use: 'enc' }, 'untrusted'],
    ['other-operations', 'ES256', { key_ops: ['sign'] }, 'untrusted'],
    ['odd-operations', 'ES256', { key_ops: 'verify' }, 'untrusted'],
    ['other-algorithm', 'PS256', { alg: 'RS256' }, 'untrusted'],
    ['other-kind', 'ES256', { alg: 'RS256' }, 'untrusted'],
    ['broken', 'ES256', { x: 'AAAA' }, 'untrusted'],
    ['secret', 'ES256', { kty: 'oct', k: 'AAAA' }, 'untrusted'],
    ['short', 'RS256', { ...generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ format: 'jwk' }) }, 'untrusted']
  ]
  for (const [kid, algorithm, changes] of odd) publish(kid, algorithm, changes)
  issuer.jwks.push(null as never, 'text' as never, [] as never)
  const verify = verifierFor(issuer, {}, { algorithms })
  for (const [kid, algorithm, , expected] of odd) {
    t.equal(await outcome(verify, issuer.sign(kid, claimsFor(issuer), {}, algorithm)), expected, kid)
  }
  t.equal(await outcome(verify, issuer.sign('other-kind', claimsFor(issuer), { alg: 'RS256' })), 'untrusted')
})

t.test('a token without a key id is accepted only if one key is for its algorithm', async (t) => {
  const issuer = await issuerFor(t, 'one')
  issuer.addKey('rsa', 'RS256')
  const token = issuer.sign('one', claimsFor(issuer), { kid: undefined })
  t.equal(await outcome(verifierFor(issuer), token), 'alice')
  issuer.addKey('two')
  t.equal(await outcome(verifierFor(issuer), token), 'untrusted')
  t.equal(await outcome(verifierFor(issuer), issuer.sign('one', claimsFor(issuer), { kid: ['one'] })), 'malformed')
  t.equal(await outcome(verifierFor(issuer), issuer.sign('one', claimsFor(issuer), { kid: null })), 'malformed')
})

t.test('many concurrent callers share one request', async (t) => {
  const issuer = await issuerFor(t, 'one')
  const verify = verifierFor(issuer, {}, { jwksUri: undefined })
  const token = issuer.sign('one', claimsFor(issuer))
  const outcomes = await Promise.all(Array.from({ length: 200 }, () => outcome(verify, token)))
  t.ok(outcomes.every(answer => answer === 'alice'))
  t.equal(issuer.count(jwksPath), 1)
  t.equal(issuer.count(discoveryPath), 1)
})

t.test('a new key is found when a token names it, and a withdrawn one is no longer accepted', async (t) => {
  const issuer = await issuerFor(t, 'one')
  const verify = verifierFor(issuer)
  const old = issuer.sign('one', claimsFor(issuer, { iat: seconds() - 120 }))
  t.equal(await outcome(verify, old), 'alice')
  issuer.addKey('two')
  issuer.removeKey('one')
  const fresh = issuer.sign('two', claimsFor(issuer))
  t.equal(await outcome(verify, fresh), 'alice', 'without a restart, although the keys are but seconds old')
  t.equal(await outcome(verify, old), 'untrusted')
  t.equal(await outcome(verify, fresh), 'alice')
  t.equal(issuer.count(jwksPath), 2)
})

/** Tokens with key ids that nobody published, as many as are asked for. */
function forgedTokens (issuer: Issuer, count: number, claims: Claims = {}): string[] {
  const [, payload, signature] = issuer.sign('one', claimsFor(issuer, claims)).split('.')
  return Array.from({ length: count }, (_, i) => {
    const kid = createHash('md5').update(String(i)).digest('hex')
    return `${Buffer.from(JSON.stringify({ alg: 'ES256', kid })).toString('base64url')}.${payload}.${signature}`
  })
}

t.test('a key that was rotated in after a forged token is found, and never refused', async (t) => {
  const issuer = await issuerFor(t, 'one')
  const verify = verifierFor(issuer)
  for (const forged of forgedTokens(issuer, 5, { iat: seconds() })) t.equal(await outcome(verify, forged), 'untrusted')
  issuer.addKey('two')
  t.equal(await outcome(verify, issuer.sign('two', claimsFor(issuer, { iat: seconds() }))), 'alice')
})

t.test('10,000 tokens with unknown key ids cause ten requests in a row: after that they are an outage, and so is a new key', async (t) => {
  const issuer = await issuerFor(t, 'one')
  const verify = verifierFor(issuer)
  const outcomes = []
  for (const forged of forgedTokens(issuer, 10_000, { iat: seconds() })) outcomes.push(await outcome(verify, forged))
  t.same(outcomes.slice(0, 10), Array(10).fill('untrusted'), 'the first request is the one that brought the keys')
  t.same([...new Set(outcomes.slice(10))], ['outage'])
  t.equal(issuer.count(jwksPath), 10)
  issuer.addKey('two')
  t.equal(await outcome(verify, issuer.sign('two', claimsFor(issuer))), 'outage', 'what was not asked is not refused')
  t.equal(await outcome(verify, issuer.sign('one', claimsFor(issuer))), 'alice', 'keys at hand serve')
  const old = forgedTokens(issuer, 100, { iat: seconds() - 120 }).map(token => outcome(verify, token))
  t.same([...new Set(await Promise.all(old))], ['untrusted'], 'the keys are newer than these tokens')
  t.equal(issuer.count(jwksPath), 10)
})

t.test('when the cooldown is over, an unknown key id causes one more request', async (t) => {
  const issuer = await issuerFor(t, 'one')
  const verify = verifierFor(issuer, { cooldown: 400 })
  const forged = forgedTokens(issuer, 11)
  for (const token of forged) await outcome(verify, token)
  issuer.addKey('two')
  const two = issuer.sign('two', claimsFor(issuer))
  await sleep(420)
  t.equal(await outcome(verify, two), 'alice')
})

t.test('an issuer that rotates under load, among forged tokens and with slow answers, has none of its tokens refused', async (t) => {
  const issuer = await issuerFor(t, 'key 0')
  issuer.odd.set(jwksPath, async response => {
    const body = JSON.stringify({ keys: issuer.jwks })
    await sleep(Math.random() * 20)
    response.writeHead(200).end(body)
  })
  const verify = verifierFor(issuer, { cooldown: 20, refreshAfter: 200 })
  let current = 0
  const over = new AbortController()
  const outcomes = new Map<unknown, number>()
  const client = async () => {
    while (!over.signal.aborted) {
      const answer = await outcome(verify, issuer.sign(`key ${current}`, claimsFor(issuer, { iat: seconds() })))
      outcomes.set(answer, (outcomes.get(answer) ?? 0) + 1)
      await sleep(1)
    }
  }
  const forger = async () => {
    for (let i = 0; !over.signal.aborted; i++) {
      t.not(await outcome(verify, issuer.sign('key 0', claimsFor(issuer, { iat: seconds() }), { kid: `forged ${i}` })), 'alice')
      await sleep(5)
    }
  }
  const running = [...Array.from({ length: 4 }, client), forger()]
  for (let rotation = 1; rotation <= 8; rotation++) {
    await sleep(60)
    issuer.addKey(`key ${rotation}`)
    current = rotation
  }
  await sleep(60)
  over.abort()
  await Promise.all(running)
  t.notOk(outcomes.has('untrusted'), JSON.stringify([...outcomes]))
  t.ok(Number(outcomes.get('alice')) > 20, JSON.stringify([...outcomes]))
})

t.test('an issuer without key ids may replace its only key', async (t) => {
  const issuer = await issuerFor(t, 'one')
  const verify = verifierFor(issuer)
  const token = () => issuer.sign('one', claimsFor(issuer), { kid: undefined })
  t.equal(await outcome(verify, token()), 'alice')
  const old = issuer.sign('one', claimsFor(issuer, { iat: seconds() - 120 }), { kid: undefined })
  issuer.removeKey('one')
  issuer.addKey('one')
  t.equal(await outcome(verify, token()), 'alice')
  t.equal(await outcome(verify, old), 'untrusted')
  t.equal(issuer.count(jwksPath), 2)
})

t.test('a key that replaces another one under its id is found after refreshAfter', async (t) => {
  const issuer = await issuerFor(t, 'one')
  const verify = verifierFor(issuer, { refreshAfter: 200 })
  t.equal(await outcome(verify, issuer.sign('one', claimsFor(issuer))), 'alice')
  issuer.removeKey('one')
  issuer.addKey('one')
  const token = issuer.sign('one', claimsFor(issuer))
  t.equal(await outcome(verify, token), 'untrusted', 'the signature is wrong by the key of that id')
  await sleep(220)
  for (let i = 0; i < 200 && await outcome(verify, token) !== 'alice'; i++) await sleep(5)
  t.equal(await outcome(verify, token), 'alice')
})

t.test('while the issuer is down, the keys at hand serve and unknown keys are an outage', async (t) => {
  const issuer = await issuerFor(t, 'one')
  const verify = verifierFor(issuer, { cooldown: 400, refreshAfter: 30 })
  const good = issuer.sign('one', claimsFor(issuer))
  t.equal(await outcome(verify, good), 'alice')
  issuer.odd.set(jwksPath, response => response.writeHead(503).end())
  const unknown = issuer.sign('one', claimsFor(issuer), { kid: 'two' })
  t.equal(await outcome(verify, unknown), 'outage')
  t.equal(issuer.count(jwksPath), 2)
  t.equal(await outcome(verify, unknown), 'outage', 'also while it is not asked again')
  t.equal(issuer.count(jwksPath), 2)
  await sleep(420)
  for (let i = 0; i < 20; i++) t.match(verify(good), { sub: 'alice' }, 'at once')
  t.equal(await outcome(verify, unknown), 'outage')
  t.equal(issuer.count(jwksPath), 3)
  issuer.odd.clear()
  await sleep(420)
  t.equal(await outcome(verify, unknown), 'untrusted', 'it is back')
})

t.test('an issuer that never answered makes every token an outage, and is asked again after a pause', async (t) => {
  const issuer = await issuerFor(t, 'one')
  issuer.odd.set(jwksPath, response => response.destroy())
  const verify = verifierFor(issuer, { cooldown: 400 })
  const good = issuer.sign('one', claimsFor(issuer))
  for (let i = 0; i < 100; i++) t.equal(await outcome(verify, good), 'outage')
  t.equal(issuer.count(jwksPath), 1)
  issuer.odd.clear()
  await sleep(420)
  t.equal(await outcome(verify, good), 'alice')
})

t.test('keys are refreshed in the background after refreshAfter, and before they are used after twice as long', async (t) => {
  const issuer = await issuerFor(t, 'one', 'two')
  const verify = verifierFor(issuer, { refreshAfter: 600 })
  const one = issuer.sign('one', claimsFor(issuer))
  const two = issuer.sign('two', claimsFor(issuer))
  t.equal(await outcome(verify, one), 'alice')
  issuer.removeKey('one')
  await sleep(620)
  t.match(verify(one), { sub: 'alice' }, 'answers at once and asks')
  for (let i = 0; i < 100 && issuer.count(jwksPath) < 2; i++) await sleep(5)
  await sleep(100)
  t.equal(issuer.count(jwksPath), 2)
  t.equal(await outcome(verify, one), 'untrusted')
  issuer.removeKey('two')
  await sleep(1250)
  t.equal(await outcome(verify, two), 'untrusted', 'keys this old are not believed before asking')
})

t.test('keys older than twice refreshAfter serve while the issuer is down', async (t) => {
  const issuer = await issuerFor(t, 'one')
  const verify = verifierFor(issuer, { refreshAfter: 10 })
  const good = issuer.sign('one', claimsFor(issuer))
  t.equal(await outcome(verify, good), 'alice')
  issuer.odd.set(jwksPath, response => response.writeHead(500).end())
  await sleep(30)
  t.equal(await outcome(verify, good), 'alice')
  t.equal(issuer.count(jwksPath), 2)
})

t.test('a malformed, late or refused response of the issuer is an outage', async (t) => {
  const issuer = await issuerFor(t, 'one')
  const stranger = await issuerFor(t, 'one')
  const good = issuer.sign('one', claimsFor(issuer))
  const say = (body: string) => (response: import('node:http').ServerResponse) => response.writeHead(200).end(body)
  const document = (changes: object) => say(JSON.stringify({ issuer: issuer.url, jwks_uri: `${issuer.url}${jwksPath}`, ...changes }))
  const rows: ReadonlyArray<[string, string, Parameters<typeof issuer.odd.set>[1], RegExp]> = [
    ['a status', jwksPath, response => response.writeHead(404).end('{"keys":[]}'), /status 404/],
    ['no content', jwksPath, response => response.writeHead(204).end(), /status 204/],
    ['an empty body', jwksPath, say(''), /not JSON/],
    ['no JSON', jwksPath, say('<html>'), /not JSON/],
    ['no key set', jwksPath, say('{}'), /not a JSON Web Key Set/],
    ['null', jwksPath, say('null'), /not a JSON Web Key Set/],
    ['keys that are no list', jwksPath, say('{"keys":{}}'), /not a JSON Web Key Set/],
    ['a redirect', jwksPath, response => response.writeHead(302, { location: `${stranger.url}${jwksPath}` }).end(), /status 302/],
    ['too much', jwksPath, say(JSON.stringify({ keys: [], padding: 'x'.repeat(5000) })), /longer than 4096/],
    ['half an answer', jwksPath, response => response.writeHead(200).write('{"keys":['), /within 100 ms/],
    ['no answer', jwksPath, () => {}, /within 100 ms/],
    ['another issuer', discoveryPath, document({ issuer: stranger.url }), /another issuer/],
    ['an issuer with a slash more', discoveryPath, document({ issuer: `${issuer.url}/` }), /another issuer/],
    ['no place of keys', discoveryPath, document({ jwks_uri: undefined }), /no secure jwks_uri/],
    ['an insecure place of keys', discoveryPath, document({ jwks_uri: 'http://keys.example/' }), /no secure jwks_uri/],
    ['a jwks_uri that is not a URL', discoveryPath, document({ jwks_uri: '/keys' }), /no secure jwks_uri/],
    ['a null document', discoveryPath, say('null'), /another issuer/],
    ['no document', discoveryPath, response => response.writeHead(404).end(), /status 404/]
  ]
  for (const [what, path, answer, cause] of rows) {
    issuer.odd.clear()
    issuer.odd.set(path, answer)
    const timeout = cause.source.includes('within') ? 100 : 30_000
    const verify = verifierFor(issuer, { http: { timeout, maxResponseLength: 4096 } }, { jwksUri: undefined })
    const error: Error = await Promise.resolve(verify(good)).then(() => new Error('accepted'), reason => reason)
    t.notMatch(error, { name: 'TokenRejectedError' }, what)
    t.match(error, { message: `the keys of ${issuer.url} could not be fetched`, cause: { message: cause } }, what)
  }
  t.equal(stranger.seen.length, 0, 'redirects are not followed')
})

t.test("a host's fetch that follows redirects or ignores the signal is an outage in time", async (t) => {
  const issuer = await issuerFor(t, 'one')
  const good = issuer.sign('one', claimsFor(issuer))
  const redirecting = verifierFor(issuer, { http: { fetch: (_url, { redirect: _, ...init } = {}) => fetch(`${issuer.url}/moved`, init) } })
  issuer.odd.set('/moved', response => response.writeHead(302, { location: jwksPath }).end())
  t.equal(await outcome(redirecting, good), 'outage')
  const deaf = verifierFor(issuer, { http: { timeout: 50, fetch: () => new Promise(() => {}) } })
  t.equal(await outcome(deaf, good), 'outage')
  const bare = verifierFor(issuer, { http: { fetch: async () => new Response() } })
  t.equal(await outcome(bare, good), 'outage', 'a response without a body')
  // eslint-disable-next-line prefer-promise-reject-errors
  const mute = verifierFor(issuer, { http: { fetch: () => Promise.reject() } })
  t.equal(await outcome(mute, good), 'outage', 'a rejection without a reason')
})

t.test('the discovery document is read again after refreshAfter: the old key set may stay online', async (t) => {
  const issuer = await issuerFor(t, 'one')
  const verify = verifierFor(issuer, { refreshAfter: 100 }, { jwksUri: undefined })
  t.equal(await outcome(verify, issuer.sign('one', claimsFor(issuer))), 'alice')
  const oldKeys = JSON.stringify({ keys: issuer.jwks })
  issuer.odd.set(jwksPath, response => response.end(oldKeys))
  issuer.odd.set('/moved', response => response.end(JSON.stringify({ keys: issuer.jwks })))
  issuer.odd.set(discoveryPath, response => response.writeHead(500).end())
  issuer.addKey('two')
  const two = issuer.sign('two', claimsFor(issuer))
  await sleep(220)
  t.equal(await outcome(verify, two), 'untrusted', 'while the document is down, the keys are looked for where they were')
  issuer.odd.set(discoveryPath, response => response.end(JSON.stringify({ issuer: issuer.url, jwks_uri: `${issuer.url}/moved` })))
  await sleep(220)
  t.equal(await outcome(verify, two), 'alice')
})

t.test('the discovery document is read once, and again when the key set is gone', async (t) => {
  const issuer = await issuerFor(t, 'one')
  const verify = verifierFor(issuer, { cooldown: 30 }, { jwksUri: undefined })
  t.equal(await outcome(verify, issuer.sign('one', claimsFor(issuer))), 'alice')
  issuer.addKey('two')
  t.equal(await outcome(verify, issuer.sign('two', claimsFor(issuer))), 'alice')
  t.equal(issuer.count(discoveryPath), 1)
  issuer.addKey('three')
  const three = issuer.sign('three', claimsFor(issuer))
  issuer.odd.set(jwksPath, response => response.writeHead(410).end())
  issuer.odd.set('/moved', response => response.end(JSON.stringify({ keys: issuer.jwks })))
  issuer.odd.set(discoveryPath, response => response.end(JSON.stringify({ issuer: issuer.url, jwks_uri: `${issuer.url}/moved` })))
  await sleep(40)
  t.equal(await outcome(verify, three), 'outage')
  await sleep(40)
  t.equal(await outcome(verify, three), 'alice')
})

t.test('the discovery document may be elsewhere, and an issuer may end with a slash', async (t) => {
  const issuer = await issuerFor(t, 'one')
  const name = `${issuer.url}/tenant/`
  const body = JSON.stringify({ issuer: name, jwks_uri: `${issuer.url}${jwksPath}` })
  issuer.odd.set('/metadata', response => response.end(body))
  issuer.odd.set('/tenant/.well-known/openid-configuration', response => response.end(body))
  const token = issuer.sign('one', claimsFor(issuer, { iss: name }))
  for (const discoveryUri of [undefined, `${issuer.url}/metadata`]) {
    const verify = verifierFor(issuer, {}, { issuer: name, jwksUri: undefined, discoveryUri })
    t.equal(await outcome(verify, token), 'alice')
  }
})

t.test('acceptExpiredFor accepts a token that expired less than that time ago', async (t) => {
  const issuer = await issuerFor(t, 'one')
  const expired = issuer.sign('one', claimsFor(issuer, { exp: seconds() - 30 }))
  t.equal(await outcome(verifierFor(issuer), expired), 'expired')
  t.equal(await outcome(verifierFor(issuer, { claims: { acceptExpiredFor: 60_000 } }), expired), 'alice')
  t.equal(await outcome(verifierFor(issuer, { claims: { acceptExpiredFor: 20_000 } }), expired), 'expired')
})

t.test('misconfiguration is a TypeError that names the option', async (t) => {
  const good: JwksIssuer = { issuer: 'https://issuer.example', audience, algorithms: ['RS256'] }
  t.doesNotThrow(() => jwksVerifier({ issuers: [good] }))
  for (const jwksUri of ['http://localhost:1/', 'http://127.0.0.1:1/', 'http://127.8.0.1/', 'http://[::1]:1/', 'https://keys.example']) {
    t.doesNotThrow(() => jwksVerifier({ issuers: [{ ...good, jwksUri }] }), jwksUri)
  }
  const rows: ReadonlyArray<[object, RegExp]> = [
    [{ issuers: undefined }, /"issuers"/],
    [{ issuers: [] }, /"issuers"/],
    [{ issuers: [good, good] }, /"issuers" must name each issuer once/],
    [{ issuers: [null] }, /"issuers\[0\]" must be an object/],
    [{ issuers: ['https://issuer.example'] }, /"issuers\[0\]" must be an object/],
    [{ issuers: [{ ...good, issuer: undefined }] }, /"issuers\[0\]\.issuer"/],
    [{ issuers: [good, { ...good, issuer: '' }] }, /"issuers\[1\]\.issuer"/],
    [{ issuers: [{ ...good, issuer: ['https://a.example'] }] }, /"issuers\[0\]\.issuer"/],
    [{ issuers: [{ ...good, issuer: 'issuer' }] }, /"issuers\[0\]\.issuer"/],
    [{ issuers: [{ ...good, issuer: 'http://issuer.example' }] }, /"issuers\[0\]\.issuer"/],
    [{ issuers: [{ ...good, audience: undefined }] }, /"issuers\[0\]\.audience"/],
    [{ issuers: [{ ...good, algorithms: undefined }] }, /"issuers\[0\]\.algorithms"/],
    [{ issuers: [{ ...good, algorithms: [] }] }, /"issuers\[0\]\.algorithms"/],
    [{ issuers: [{ ...good, algorithms: ['HS256'] }] }, /"issuers\[0\]\.algorithms"/],
    [{ issuers: [{ ...good, algorithms: ['none'] }] }, /"issuers\[0\]\.algorithms"/],
    [{ issuers: [{ ...good, jwksUri: '' }] }, /"issuers\[0\]\.jwksUri"/],
    [{ issuers: [{ ...good, jwksUri: 'http://issuer.example/keys' }] }, /"issuers\[0\]\.jwksUri"/],
    [{ issuers: [{ ...good, jwksUri: 'http://127.0.0.1.example/' }] }, /"issuers\[0\]\.jwksUri"/],
    [{ issuers: [{ ...good, jwksUri: 'https://me:pass@issuer.example/keys' }] }, /"issuers\[0\]\.jwksUri"/],
    [{ issuers: [{ ...good, jwksUri: 'https://:pass@issuer.example/keys' }] }, /"issuers\[0\]\.jwksUri"/],
    [{ issuers: [{ ...good, jwksUri: 'file:///etc/keys' }] }, /"issuers\[0\]\.jwksUri"/],
    [{ issuers: [{ ...good, discoveryUri: 'http://issuer.example/' }] }, /"issuers\[0\]\.discoveryUri"/],
    [{ issuers: [{ ...good, jwksUri: 'https://a.example', discoveryUri: 'https://a.example' }] }, /"issuers\[0\]\.discoveryUri" must not/],
    [{ cooldown: 0 }, /"cooldown"/],
    [{ refreshAfter: -1 }, /"refreshAfter"/],
    [{ http: { timeout: Infinity } }, /"http.timeout"/],
    [{ http: { maxResponseLength: 0 } }, /"http.maxResponseLength"/],
    [{ maxTokenLength: '1' }, /"maxTokenLength"/],
    [{ http: { fetch: 'fetch' } }, /"http.fetch"/],
    [{ http: null }, /"http" must be an object/],
    [{ claims: 'sub' }, /"claims" must be an object/],
    [{ claims: { acceptExpiredFor: -1 } }, /"claims.acceptExpiredFor"/],
    [{ claims: { required: 'sub' } }, /"claims.required"/]
  ]
  for (const [wrong, message] of rows) {
    t.throws(() => jwksVerifier({ issuers: [good], ...wrong }), { name: 'TypeError', message }, JSON.stringify(wrong))
    try { jwksVerifier({ issuers: [good], ...wrong }) } catch (error) { t.notMatch(String(error), /me:pass/) }
  }
})
