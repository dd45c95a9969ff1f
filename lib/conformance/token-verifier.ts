import assert from 'node:assert/strict'
import type { Awaitable } from '../awaitable.ts'
import { isTokenRejected, type Claims, type VerifyToken } from '../token-verifier.ts'
import {
  confuseKey, forge, headerOf, inOtherAlphabet, isJwt, reassemble, withAlteredEnd, withAlteredMiddle, withOtherSpareBits, withPadding,
  withSkippedCharacters, withWhiteSpace, type Header
} from '../internal/conformance/forged-token.ts'
import type { Rule } from '../internal/conformance/rule.ts'

export type { Rule } from '../internal/conformance/rule.ts'

/** A verifier under test, and the issuer whose tokens it accepts. */
export interface TokenVerifierHarness {
  readonly verifyToken: VerifyToken
  /** The `iss` that the verifier accepts. */
  readonly issuer: string
  /** An `aud` that the verifier accepts. */
  readonly audience: string
  /**
   * Issues a genuine token with exactly these claims, even invalid ones: signs them, or (for opaque tokens) registers them so
   * that the introspection endpoint returns them with `active: true`. `header` has more members for the header of a signed
   * token.
   */
  readonly mint: (claims: Claims, header?: Header) => Awaitable<string>
  /** The public key of signed tokens in PEM, which anybody may know. */
  readonly publicKey?: string | undefined
  /** Shuts down the server that the verifier uses, before its first request. Omit it for a verifier without a server. */
  readonly breakSource?: (() => Awaitable<void>) | undefined
  /** Called after the rule. */
  readonly close?: (() => Awaitable<void>) | undefined
}

/** Makes a harness with a new verifier. */
export type MakeTokenVerifier = () => Awaitable<TokenVerifierHarness>

const hour = 3600
const megabyte = 1024 * 1024

/**
 * The promises of {@link VerifyToken}, for any test runner.
 *
 * @example
 * ```ts
 * import { tokenVerifierRules, type TokenVerifierHarness } from 'fastify-logout/conformance/token-verifier'
 * import { fastJwtVerifier } from 'fastify-logout/token-verifiers/fast-jwt'
 * import { createHmac } from 'node:crypto'
 * import test from 'node:test'
 *
 * const key = 'a secret of at least 32 characters'
 * const issuer = 'https://login.example'
 * const audience = 'https://api.example'
 * const encoded = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url')
 *
 * const harness: TokenVerifierHarness = {
 *   issuer,
 *   audience,
 *   verifyToken: fastJwtVerifier({ key, algorithms: ['HS256'], issuer, audience }),
 *   mint: (claims, header) => {
 *     const input = `${encoded({ alg: 'HS256', ...header })}.${encoded(claims)}`
 *     return `${input}.${createHmac('sha256', key).update(input).digest('base64url')}`
 *   }
 * }
 *
 * for (const rule of tokenVerifierRules) test(rule.name, () => rule.check(() => harness))
 * ```
 */
export const tokenVerifierRules: ReadonlyArray<Rule<MakeTokenVerifier>> = [
  rule('returns the claims of a good token as the issuer wrote them, each time', async (harness) => {
    const claims = goodClaims(harness, { roles: ['a', { b: 1 }] })
    const token = await harness.mint(claims)
    for (let time = 0; time < 2; time++) {
      const answer = await accepts(harness, token)
      for (const [name, value] of Object.entries(claims)) assert.deepEqual(answer[name], value, `claim ${name}`)
    }
  }),

  rule('accepts a token for several audiences if the expected one is among them', async (harness) => {
    const token = await harness.mint(goodClaims(harness, { aud: ['https://elsewhere.example', harness.audience] }))
    assert.equal((await accepts(harness, token))['sub'], 'alice')
  }),

  rule('returns claims that a caller cannot change for the next caller', async (harness) => {
    const token = await harness.mint(goodClaims(harness, { roles: ['reader'] }))
    const answer = await accepts(harness, token)
    attempt(() => Object.assign(answer, { sub: 'mallory' }))
    attempt(() => (answer['roles'] as string[]).push('admin'))
    const next = await accepts(harness, token)
    assert.equal(next['sub'], 'alice')
    assert.deepEqual(next['roles'], ['reader'])
  }),

  ...refusals('what is not a token', () => [
    '', ' ', '.', '..', '...', 'garbage', 'a.b.c', 'null', '{}', 'e30.e30.', 'bnVsbA.bnVsbA.bnVsbA', 'W10.W10.W10',
    'ü', '\u0000', 'Bearer x', '__proto__', 'constructor'
  ]),

  ...refusals('one megabyte that is not a token', () => [
    'a'.repeat(megabyte), '.'.repeat(megabyte), `${'a.'.repeat(megabyte / 2)}a`
  ]),

  rule('refuses a good token that has a megabyte appended', async (harness) => {
    const token = await harness.mint(goodClaims(harness))
    await refuses(harness, token + 'A'.repeat(megabyte))
    await refuses(harness, `${token}.${'A'.repeat(megabyte)}`)
  }),

  rule('refuses a genuine token of one megabyte', async (harness) => {
    const token = await harness.mint(goodClaims(harness, { padding: 'x'.repeat(megabyte) }))
    if (token.length >= megabyte) await refuses(harness, token)
  }),

  refusesClaims('an expired token', () => ({ exp: now() - hour, iat: now() - 2 * hour })),
  refusesClaims('a token that is not valid yet', () => ({ nbf: now() + hour })),
  refusesClaims('a token that never expires', () => ({ exp: undefined })),
  refusesClaims('a token whose expiry is not a number', () => ({ exp: String(now() + hour) })),
  refusesClaims('a token whose expiry is null', () => ({ exp: null })),
  refusesClaims('a token whose expiry is beyond every date', () => ({ exp: 1e300 })),
  refusesClaims('a token of another issuer', () => ({ iss: 'https://mallory.example' })),
  refusesClaims('a token of an issuer whose name begins with the expected one', ({ issuer }) => ({ iss: `${issuer}.mallory.example` })),
  refusesClaims('a token of an issuer whose name is the beginning of the expected one', ({ issuer }) => ({ iss: issuer.slice(0, -1) })),
  refusesClaims('a token whose issuer is empty', () => ({ iss: '' })),
  refusesClaims('a token without an issuer', () => ({ iss: undefined })),
  refusesClaims('an array where the issuer belongs', ({ issuer }) => ({ iss: [issuer] })),
  refusesClaims('an array where the subject belongs', () => ({ sub: ['alice'] })),
  refusesClaims('an object where the subject belongs', () => ({ sub: { id: 'alice' } })),
  refusesClaims('a token for another audience', () => ({ aud: 'https://mallory.example' })),
  refusesClaims('a token for an audience whose name is the beginning of the expected one', ({ audience }) => {
    return { aud: audience.slice(0, -1) }
  }),
  refusesClaims('a token for other audiences', () => ({ aud: ['https://mallory.example', 'https://elsewhere.example'] })),
  refusesClaims('a token without an audience', () => ({ aud: undefined })),
  refusesClaims('a token with an empty list of audiences', () => ({ aud: [] })),
  refusesClaims('an audience nested in a list', ({ audience }) => ({ aud: [[audience]] })),

  ...attacks('a token whose payload was altered', (token, harness) => [
    reassemble(token, { claims: goodClaims(harness, { sub: 'mallory' }) }), withAlteredMiddle(token)
  ]),
  ...attacks('a token whose end was altered', token => [withAlteredEnd(token), token.slice(0, -1), `${token}A`]),
  ...attacks('a token whose signature was cut off', token => [`${token.split('.', 2).join('.')}.`, token.split('.', 2).join('.')]),
  ...attacks('an unsigned token', (token, harness) => ['none', 'None', 'NONE', ''].flatMap(alg => [
    forge({ alg }, goodClaims(harness)),
    reassemble(token, { header: { ...headerOf(token), alg } }),
    `${forge({ ...headerOf(token), alg }, goodClaims(harness))}AAAA`
  ])),
  ...attacks('a token signed with the public key as a secret', (token, harness) =>
    confuseKey(headerOf(token), goodClaims(harness), harness.publicKey)),
  ...attacks('a token that names the key of the issuer, signed with another one', (token, harness) => [
    forge(headerOf(token), goodClaims(harness)),
    forge({ ...headerOf(token), alg: 'RS256' }, goodClaims(harness)),
    forge({ ...headerOf(token), alg: 'ES256' }, goodClaims(harness)),
    forge({ ...headerOf(token), alg: 'HS256' }, goodClaims(harness))
  ]),
  ...attacks('a token that brings its own key, or names no, an odd or an unknown one', (token, harness) => {
    const { kid: _, ...header } = headerOf(token)
    return [header, { ...header, kid: 'unknown' }, { ...header, kid: '' }, { ...header, kid: ['unknown'] }, { ...header, kid: '__proto__' },
      { ...header, kid: '../../../dev/null' }].map(odd => forge(odd, goodClaims(harness), { embedKey: true }))
  }),
  ...respellings('with white space around it or in it', withWhiteSpace),
  ...respellings('with padding', withPadding),
  ...respellings('with other spare bits at the end of a part', withOtherSpareBits),
  ...respellings('in the other alphabet of base64', inOtherAlphabet),
  ...respellings('with characters that a lenient decoder skips', withSkippedCharacters),

  rule('refuses a genuine token with an unknown critical extension', async (harness) => {
    const token = await harness.mint(goodClaims(harness), { crit: ['urn:example:unheard'], 'urn:example:unheard': true })
    if (isJwt(token)) await refuses(harness, token)
  }),

  rule('accepts a good token after it has refused others', async (harness) => {
    const token = await harness.mint(goodClaims(harness))
    await refuses(harness, 'garbage')
    await refuses(harness, withAlteredEnd(token))
    assert.equal((await accepts(harness, token))['sub'], 'alice')
  }),

  rule('rejects with an outage, and not with a refusal, while its source is down', async (harness) => {
    const token = await harness.mint(goodClaims(harness))
    if (harness.breakSource === undefined) return
    await harness.breakSource()
    for (let time = 0; time < 2; time++) {
      await assert.rejects(async () => await harness.verifyToken(token), (error) => {
        assert.ok(!isTokenRejected(error), 'an outage was reported as a refusal')
        return true
      })
    }
  })
]

function goodClaims (harness: TokenVerifierHarness, others: Claims = {}): Claims {
  const claims = { iss: harness.issuer, aud: harness.audience, sub: 'alice', iat: now(), exp: now() + hour, ...others }
  return Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== undefined))
}

function rule (name: string, check: (harness: TokenVerifierHarness) => Promise<void>): Rule<MakeTokenVerifier> {
  return {
    name,
    check: async (make) => {
      const harness = await make()
      try {
        await check(harness)
      } finally {
        await harness.close?.()
      }
    }
  }
}

function refusals (what: string, tokens: () => string[]): Array<Rule<MakeTokenVerifier>> {
  return [rule(`refuses ${what}`, async (harness) => {
    for (const token of tokens()) await refuses(harness, token)
  })]
}

function refusesClaims (what: string, claims: (harness: TokenVerifierHarness) => Claims): Rule<MakeTokenVerifier> {
  return rule(`refuses ${what}`, async (harness) => {
    await refuses(harness, await harness.mint(goodClaims(harness, claims(harness))))
  })
}

function attacks (what: string, tokens: (token: string, harness: TokenVerifierHarness) => string[]): Array<Rule<MakeTokenVerifier>> {
  return [rule(`refuses ${what}`, async (harness) => {
    const token = await harness.mint(goodClaims(harness))
    const forgeries = tokens(token, harness).filter(forged => forged !== token)
    for (const forged of forgeries) await refuses(harness, forged)
  })]
}

/**
 * Digests of tokens are keys, of marks and of caches: a second spelling that is accepted escapes its mark. (An ECDSA
 * signature has a second value that every verifier accepts, so marks must not digest signatures.)
 */
function respellings (how: string, spellings: (token: string) => string[]): Array<Rule<MakeTokenVerifier>> {
  return [rule(`refuses a good token that is spelled ${how}`, async (harness) => {
    for (let id = 0; id < 16; id++) {
      const token = await harness.mint(goodClaims(harness, { jti: String(id) }))
      await accepts(harness, token)
      for (const spelling of spellings(token).filter(other => other !== token)) await refuses(harness, spelling)
    }
  })]
}

async function accepts ({ verifyToken }: TokenVerifierHarness, token: string): Promise<Claims> {
  try {
    return await verifyToken(token)
  } catch (error) {
    assert.fail(`a good token was not accepted: ${String(error)}`)
  }
}

async function refuses ({ verifyToken }: TokenVerifierHarness, token: string): Promise<void> {
  const shown = `${JSON.stringify(token.slice(0, 200))} (${token.length} characters)`
  let answer: Claims
  try {
    answer = await verifyToken(token)
  } catch (error) {
    assert.ok(isTokenRejected(error), `${shown} caused an outage instead of a refusal: ${String(error)}`)
    return
  }
  assert.fail(`${shown} was accepted as ${JSON.stringify(answer).slice(0, 200)}`)
}

function attempt (change: () => unknown): void {
  try {
    change()
  } catch {
    // Frozen claims are safe, too.
  }
}

function now (): number {
  return Math.floor(Date.now() / 1000)
}
