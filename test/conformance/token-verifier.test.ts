import { AssertionError } from 'node:assert'
import {
  createHmac, createPublicKey, createSign, createVerify, generateKeyPairSync, randomBytes, type JsonWebKey, type KeyObject
} from 'node:crypto'
import t from 'tap'

import { tokenVerifierRules, type TokenVerifierHarness } from '../../lib/conformance/token-verifier.ts'
import { TokenRejectedError, type Claims, type VerifyToken } from '../../lib/token-verifier.ts'

const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString()
const issuer = 'https://issuer.example'
const audience = 'https://api.example'
const kid = 'one'

type Header = Readonly<Record<string, unknown>>

interface Ways {
  isTooLong: (token: string) => boolean
  parts: (token: string) => string[]
  parse: (part: string) => unknown
  /** The key that a header may choose; `undefined`: none. */
  keyOf: (header: Header) => KeyObject | undefined
  isSigned: (header: Header, input: string, signature: string, key: KeyObject | undefined) => boolean
  isUnderstood: (header: Header) => boolean
  isOurIssuer: (issuer: unknown) => boolean
  isOurAudience: (audience: unknown) => boolean
  isSubject: (subject: unknown) => boolean
  isExpired: (exp: unknown, now: number) => boolean
  isEarly: (nbf: unknown, now: number) => boolean
  give: (claims: Claims, token: string) => Claims
  refuse: (token: string) => Error
  outage: () => Error
}

const decoded = (part: string) => Buffer.from(part, 'base64url')

const good: Ways = {
  isTooLong: token => token.length > 16_384,
  parts: token => token.split('.'),
  parse: part => JSON.parse(decoded(part).toString()),
  keyOf: header => header['alg'] === 'RS256' && header['kid'] === kid ? publicKey : undefined,
  isSigned: (_header, input, signature, key) => key !== undefined && canonical(signature) === signature &&
    createVerify('sha256').update(input).verify(key, decoded(signature)),
  isUnderstood: header => header['crit'] === undefined,
  isOurIssuer: value => value === issuer,
  isOurAudience: value => [value].flat().includes(audience),
  isSubject: value => typeof value === 'string',
  isExpired: (exp, now) => typeof exp !== 'number' || exp <= now || exp > 1e13,
  isEarly: (nbf, now) => typeof nbf === 'number' && nbf > now,
  give: claims => claims,
  refuse: () => new TokenRejectedError('untrusted'),
  outage: () => new Error('the source is down')
}

function verifierOf (ways: Ways, isDown: () => boolean): VerifyToken {
  return (token) => {
    if (isDown()) throw ways.outage()
    if (ways.isTooLong(token)) throw ways.refuse(token)
    const claims = claimsOf(ways, token)
    const now = Date.now() / 1000
    const fits = ways.isOurIssuer(claims?.['iss']) && ways.isOurAudience(claims?.['aud']) && ways.isSubject(claims?.['sub']) &&
      !ways.isExpired(claims?.['exp'], now) && !ways.isEarly(claims?.['nbf'], now)
    if (claims === undefined || !fits) throw ways.refuse(token)
    return ways.give(claims, token)
  }
}

function claimsOf (ways: Ways, token: string): Claims | undefined {
  try {
    const [head = '', body = '', signature = '', ...others] = ways.parts(token)
    const header = ways.parse(head) as Header
    const isWhole = others.length === 0 && ways.isUnderstood(header)
    const isSigned = isWhole && ways.isSigned(header, `${head}.${body}`, signature, ways.keyOf(header))
    return isSigned ? ways.parse(body) as Claims : undefined
  } catch (error) {
    throw error instanceof SyntaxError || error instanceof TypeError ? ways.refuse(token) : error
  }
}

function harnessOf (broken: Partial<Ways>): TokenVerifierHarness {
  const ways = { ...good, ...broken }
  let down = false
  return {
    issuer,
    audience,
    publicKey: pem,
    verifyToken: verifierOf(ways, () => down),
    mint: (claims, header) => {
      const parts = [{ alg: 'RS256', typ: 'JWT', kid, ...header }, claims]
      const input = parts.map(part => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
      return `${input}.${createSign('sha256').update(input).sign(privateKey, 'base64url')}`
    },
    breakSource: () => { down = true },
    close: () => { down = false }
  }
}

function orElse<Value> (work: () => Value, instead: () => Value): Value {
  try {
    return work()
  } catch {
    return instead()
  }
}

const byAlgorithm = (header: Header) => header['alg'] === 'RS256' ? publicKey : undefined
const isHmac = (header: Header, input: string, signature: string, secret: string | Buffer) =>
  createHmac(`sha${String(header['alg']).slice(2)}`, secret).update(input).digest('base64url') === signature
/** A verifier that reads a signature after it was changed like this. */
const withSignature = (change: (signature: string) => string): Partial<Ways> =>
  ({ isSigned: (header, input, signature, key) => good.isSigned(header, input, change(signature), key) })
const canonical = (part: string) => decoded(part).toString('base64url')
const shared = new Map<string, Claims>()
let locked = false

/** What is broken, how, and the rule that has to notice. */
const broken: ReadonlyArray<[flaw: string, ways: Partial<Ways>, notices: RegExp]> = [
  ['drops claims it does not know', { give: ({ iss, aud, sub, exp, iat }) => ({ iss, aud, sub, exp, iat }) }, /claims of a good token/],
  ['takes one audience only', { isOurAudience: value => value === audience }, /for several audiences/],
  ['hands out one shared object', {
    give: (claims, token) => {
      shared.set(token, shared.get(token) ?? claims)
      return shared.get(token) ?? claims
    }
  }, /change for the next caller/],
  ['hands out shared claims in a new object', {
    give: (claims, token) => {
      shared.set(token, shared.get(token) ?? claims)
      return { ...shared.get(token) }
    }
  }, /change for the next caller/],
  ['lets parse errors through', {
    parse: part => orElse(() => good.parse(part), () => { throw new RangeError('unparsable') })
  }, /refuses what is not a token$/],
  ['takes an unreadable token for a guest', {
    parse: part => orElse(() => good.parse(part), () => ({ iss: issuer, aud: audience, sub: 'guest', exp: 1e10 })),
    isSigned: () => true,
    isUnderstood: () => true
  }, /refuses what is not a token$/],
  ['chokes on a long token', {
    isTooLong: (token) => {
      if (token.length > 16_384) throw new RangeError('too long')
      return false
    }
  }, /one megabyte that is not a token/],
  ['reads three parts, however many follow', { parts: token => token.split('.', 3), isTooLong: () => false }, /a megabyte appended/],
  ['has no limit', { isTooLong: () => false }, /genuine token of one megabyte/],
  ['does not look at exp', { isExpired: exp => typeof exp !== 'number' }, /an expired token/],
  ['does not look at nbf', { isEarly: () => false }, /not valid yet/],
  ['does not demand exp', { isExpired: (exp, now) => exp !== undefined && good.isExpired(exp, now) }, /never expires/],
  ['reads exp from a string', { isExpired: (exp, now) => typeof exp !== 'string' && good.isExpired(exp, now) }, /expiry is not a number/],
  ['takes null for no expiry', { isExpired: (exp, now) => exp !== null && good.isExpired(exp, now) }, /expiry is null/],
  ['does not look at iss', { isOurIssuer: value => typeof value === 'string' }, /of another issuer$/],
  [
    'looks at the beginning of iss', { isOurIssuer: value => typeof value === 'string' && value.startsWith(issuer) },
    /begins with the expected one/
  ],
  ['looks for iss in the expected name', {
    isOurIssuer: value => typeof value === 'string' && value !== '' && issuer.includes(value)
  }, /issuer whose name is the beginning/],
  ['takes an empty iss for none', { isOurIssuer: value => value === '' || value === issuer }, /issuer is empty/],
  ['looks for aud in the expected name', {
    isOurAudience: value => good.isOurAudience(value) || audience.includes(String(value))
  }, /audience whose name is the beginning/],
  ['does not demand iss', { isOurIssuer: value => value === undefined || value === issuer }, /without an issuer/],
  ['takes a list for iss', { isOurIssuer: value => String(value) === issuer }, /array where the issuer/],
  ['takes a list for sub', { isSubject: value => typeof value === 'string' || Array.isArray(value) }, /array where the subject/],
  ['takes an object for sub', { isSubject: value => !Array.isArray(value) }, /object where the subject/],
  ['does not look at aud', {
    isOurAudience: value => [value].flat().length > 0 && [value].flat()[0] !== undefined && !Array.isArray([value].flat()[0])
  }, /for another audience/],
  ['looks at the first audience only if it is one', {
    isOurAudience: value => good.isOurAudience(value) || (Array.isArray(value) && typeof value[0] === 'string')
  }, /for other audiences/],
  ['does not demand aud', { isOurAudience: value => value === undefined || good.isOurAudience(value) }, /without an audience/],
  ['takes an empty list for aud', {
    isOurAudience: value => (Array.isArray(value) && value.length === 0) || good.isOurAudience(value)
  }, /empty list of audiences/],
  ['flattens aud', { isOurAudience: value => [value].flat(2).includes(audience) }, /nested in a list/],
  ['signs the header only', {
    isSigned: (header, _input, signature, key) =>
      key !== undefined && signature.length === 342 && decoded(signature).length === 256 && header['kid'] === kid
  }, /payload was altered/],
  ['compares the beginning of the signature', {
    isSigned: (_header, input, signature, key) => key !== undefined &&
      createSign('sha256').update(input).sign(privateKey, 'base64url').slice(0, 300) === signature.slice(0, 300)
  }, /whose end was altered/],
  ['takes a missing signature for a good one', {
    isSigned: (header, input, signature, key) => key !== undefined && (signature === '' || good.isSigned(header, input, signature, key))
  }, /was cut off/],
  ['accepts alg none', {
    isSigned: (header, input, signature, key) => header['alg'] === 'none' || good.isSigned(header, input, signature, key)
  }, /an unsigned token/],
  ['accepts alg NONE', {
    isSigned: (header, input, signature, key) => header['alg'] === 'NONE' || good.isSigned(header, input, signature, key)
  }, /an unsigned token/],
  ['takes the public key for a secret', {
    isSigned: (header, input, signature, key) =>
      isHmac({ alg: 'HS256', ...header }, input, signature, pem) || good.isSigned(header, input, signature, key)
  }, /public key as a secret/],
  ['takes the bytes of the public key for a secret', {
    isSigned: (header, input, signature, key) =>
      isHmac(header, input, signature, publicKey.export({ format: 'der', type: 'spki' })) || good.isSigned(header, input, signature, key)
  }, /public key as a secret/],
  ['believes whoever names a key of ours', {
    isSigned: (header, input, signature, key) =>
      (header['kid'] === kid && signature.length >= 43) || good.isSigned(header, input, signature, key)
  }, /signed with another one/],
  ['believes the key that the token brings', {
    keyOf: header => typeof header['jwk'] === 'object' && header['jwk'] !== null
      ? createPublicKey({ key: header['jwk'] as JsonWebKey, format: 'jwk' })
      : byAlgorithm(header)
  }, /brings its own key/],
  ['believes unknown keys', {
    isSigned: (header, input, signature, key) => header['kid'] === 'unknown' || good.isSigned(header, input, signature, key)
  }, /brings its own key/],
  ['trims a token', { parts: token => token.trim().split('.') }, /white space/],
  ['skips white space in a signature', withSignature(signature => signature.replace(/\s/g, '')), /white space/],
  ['takes a padded signature', withSignature(signature => signature.replace(/=+$/, '')), /with padding/],
  ['takes a padded header', {
    parts: token => token.replace(/=+\./, '.').split('.'),
    parse: part => JSON.parse(decoded(part).toString())
  }, /with padding/],
  ['does not look at spare bits', withSignature(signature => /^[\w-]*$/.test(signature) ? canonical(signature) : signature), /spare bits/],
  ['reads both alphabets of base64', withSignature(signature => signature.replaceAll('+', '-').replaceAll('/', '_')), /other alphabet/],
  ['skips what is not of the alphabet', withSignature(signature => signature.replace(/[^\w=\s-]/g, '')), /lenient decoder skips/],
  ['takes an expiry beyond every date for none', {
    isExpired: (exp, now) => exp !== 1e300 && good.isExpired(exp, now)
  }, /beyond every date/],
  ['ignores crit', { isUnderstood: () => true }, /critical extension/],
  ['stays locked after a refusal', {
    refuse: () => { locked = true; return new TokenRejectedError('untrusted') },
    give: (claims) => { if (locked) throw new TokenRejectedError('untrusted'); return claims }
  }, /after it has refused others/],
  ['passes an outage off as a refusal', { outage: () => new TokenRejectedError('untrusted') }, /while its source is down/]
]

t.test('a correct verifier passes every rule', async (t) => {
  for (const rule of tokenVerifierRules) await t.resolves(rule.check(() => harnessOf({})), rule.name)
})

t.test('a verifier that returns frozen claims passes too', async (t) => {
  const frozen: Partial<Ways> = {
    give: claims => Object.freeze({ ...claims, ...('roles' in claims && { roles: Object.freeze(claims['roles']) }) })
  }
  for (const rule of tokenVerifierRules) await t.resolves(rule.check(() => harnessOf(frozen)), rule.name)
})

for (const [flaw, ways, notices] of broken) {
  t.test(`a verifier that ${flaw} is caught`, async (t) => {
    const rules = tokenVerifierRules.filter(rule => notices.test(rule.name))
    t.equal(rules.length, 1, 'one rule is meant')
    for (const rule of rules) {
      locked = false
      await t.rejects(rule.check(() => harnessOf(ways)), AssertionError)
    }
  })
}

t.test('every rule detects a broken verifier', async (t) => {
  for (const rule of tokenVerifierRules) {
    t.ok(broken.some(([, , notices]) => notices.test(rule.name)), rule.name)
  }
})

t.test('a verifier of opaque tokens passes without publicKey and breakSource', async (t) => {
  const issued = new Map<string, Claims>()
  const harness: TokenVerifierHarness = {
    issuer,
    audience,
    mint: (claims) => {
      const token = randomBytes(24).toString('base64url')
      issued.set(token, claims)
      return token
    },
    verifyToken: (token) => {
      const claims = issued.get(token)
      const payload = Buffer.from(JSON.stringify(claims ?? {})).toString('base64url')
      return verifierOf({ ...good, parts: () => ['e30', payload, ''], isSigned: () => claims !== undefined }, () => false)(token)
    }
  }
  for (const rule of tokenVerifierRules) await t.resolves(rule.check(() => harness), rule.name)
})
