import { clientAuthentication, type Client, type Credentials } from '../internal/oauth/client-authentication.ts'
import { expectedClaims, type CheckClaims, type ClaimOptions } from '../internal/jose/expected-claims.ts'
import { expiringCache } from '../internal/collections/expiring-cache.ts'
import { requestJson, type RequestLimits } from '../internal/http/json-request.ts'
import { defaultMaxTokenLength, refuseMalformed } from '../internal/jose/jwt.ts'
import { assertFunctions, assertOption, duration, nonEmptyStrings, wholeNumber } from '../internal/plugin/options.ts'
import { isSecureUrl } from '../internal/http/secure-url.ts'
import { tokenDigest } from '../token-digest.ts'
import { rejected, type Claims, type VerifyToken } from '../token-verifier.ts'

export type { Client, KeyClient, SecretClient } from '../internal/oauth/client-authentication.ts'

/**
 * What {@link introspectionVerifier} is made of. Times are milliseconds.
 *
 * `acceptExpiredFor` helps only with a server that still calls an expired token active, and few do.
 */
export interface IntrospectionVerifierOptions extends ClaimOptions {
  /** The introspection endpoint: https, or http on this machine. */
  readonly endpoint: string
  /** Who we are to the authorization server, and how we prove it. */
  readonly client: Client
  /** Where given, `iss` must be there and exactly one of these. */
  readonly issuer?: string | readonly string[]
  /** Where given, `aud` must be there and name at least one of these. Without it, every active token of the server is accepted, whomever it is for. */
  readonly audience?: string | readonly string[]
  /**
   * Whether an active token without `exp` is refused. The standard lets servers leave it out.
   * @default true
   */
  readonly requireExpiry?: boolean | undefined
  /**
   * How long an active token is believed without asking again, never beyond its `exp`. A token that is revoked
   * meanwhile passes for so long, hence the default: 0 asks every time.
   * @default 0
   */
  readonly cacheFor?: number | undefined
  /**
   * How many tokens are remembered at most.
   * @default 1000
   */
  readonly cacheSize?: number | undefined
  /**
   * For each request to the server, from the first byte to the last.
   * @default 5000
   */
  readonly timeout?: number | undefined
  /**
   * The longest answer that is read, in bytes.
   * @default 65536
   */
  readonly maxResponseLength?: number | undefined
  /**
   * Longer tokens are refused without asking. In characters.
   * @default 16384
   */
  readonly maxTokenLength?: number | undefined
  /** The host's own `fetch`, for a proxy or an own certificate authority. @default globalThis.fetch */
  readonly fetch?: typeof globalThis.fetch | undefined
}

const verifier = 'introspectionVerifier'

/**
 * Asks the authorization server about each token, opaque or not. Concurrent callers with one token share one request.
 *
 * A token that the server calls inactive, or of a kind that it does not know, is refused as `revoked`: whether it was revoked, ran out or never was, the
 * server does not say. Anything but a clear answer (a refusal of our own credentials, a 5xx, no JSON, no `active`, no
 * answer in time) is an outage. What is answered is frozen, because callers may share it.
 *
 * @throws TypeError when made with an option that is missing or unsafe.
 * @see https://www.rfc-editor.org/rfc/rfc7662
 */
export function introspectionVerifier (options: IntrospectionVerifierOptions): VerifyToken {
  const ask = introspection(options)
  const checkClaims = claimCheck(options)
  const cacheFor = wholeNumber(options.cacheFor, verifier, 'cacheFor', { standard: 0, least: 0 })
  const cache = expiringCache<Claims>(wholeNumber(options.cacheSize, verifier, 'cacheSize', { standard: 1000, least: 1 }))
  const maxLength = wholeNumber(options.maxTokenLength, verifier, 'maxTokenLength', { standard: defaultMaxTokenLength, least: 1 })
  const pending = new Map<string, Promise<Claims>>()

  async function askOnce (token: string, digest: string): Promise<Claims> {
    try {
      const claims = await ask(token)
      checkClaims(claims)
      const { exp } = claims
      cache.set(digest, claims, Math.min(Date.now() + cacheFor, typeof exp === 'number' ? exp * 1000 : Infinity))
      return claims
    } finally {
      pending.delete(digest)
    }
  }

  return (token) => {
    refuseMalformed(token, maxLength)
    const digest = tokenDigest(token)
    const known = cache.get(digest)
    if (known !== undefined) return known
    const answer = pending.get(digest) ?? askOnce(token, digest)
    pending.set(digest, answer)
    return answer
  }
}

function introspection (options: IntrospectionVerifierOptions): (token: string) => Promise<Claims> {
  const { endpoint } = options
  assertOption(isSecureUrl(endpoint), verifier, 'endpoint', 'must be an https URL without a password (http only for this machine)')
  assertFunctions(options, verifier, ['fetch'])
  const credentials = clientAuthentication(options.client, endpoint, verifier)
  const limits: RequestLimits = {
    fetch: options.fetch ?? globalThis.fetch,
    timeout: duration(options.timeout, 5000, verifier, 'timeout'),
    maxLength: wholeNumber(options.maxResponseLength, verifier, 'maxResponseLength', { standard: 64 * 1024, least: 1 })
  }

  return async (token) => {
    const claims = await asked(limits, endpoint, token, credentials())
    if (claims === undefined) throw rejected('revoked', 'the authorization server does not call the token active')
    if (isOfAnotherKind(claims)) throw rejected('untrusted', 'the token is no access token')
    return claims
  }
}

/**
 * What some servers say, with a 400, to a JWT where they issue opaque tokens: the caller's fault and not ours.
 * @see https://www.rfc-editor.org/rfc/rfc7009#section-2.2.1
 */
const unsupported = 'unsupported_token_type'

/** The claims of an active token, `undefined` for an inactive one. */
async function asked (limits: RequestLimits, endpoint: string, token: string, { headers, form }: Credentials): Promise<Claims | undefined> {
  const body = new URLSearchParams({ token, token_type_hint: 'access_token', ...form })
  try {
    const { status, json } = await requestJson(limits, endpoint, { method: 'POST', headers, body, alsoRead: 400 })
    const { active, error, ...claims } = Object(json)
    if (status === 400 && error === unsupported) return undefined
    if (status !== 200) throw new Error(`answered with status ${status}`)
    if (typeof active !== 'boolean') throw new Error('the answer does not say whether the token is active')
    return active ? frozen(claims) : undefined
  } catch (cause) {
    throw new Error('the authorization server could not say whether the token is active', { cause })
  }
}

/** Refresh and ID tokens are active too. Ory says `token_use`, Keycloak `typ`. */
function isOfAnotherKind ({ token_use: use, typ }: Claims): boolean {
  return (use !== undefined && use !== 'access_token') || typ === 'Refresh' || typ === 'Offline' || typ === 'ID'
}

function frozen<Value> (value: Value): Value {
  if (typeof value === 'object' && value !== null) {
    Object.values(value).forEach(frozen)
    Object.freeze(value)
  }
  return value
}

function claimCheck (options: IntrospectionVerifierOptions): CheckClaims {
  const { requireExpiry = true } = options
  assertOption(typeof requireExpiry === 'boolean', verifier, 'requireExpiry', 'must be true or false')
  const issuers = stringsWhereGiven(options, 'issuer')
  const audiences = stringsWhereGiven(options, 'audience')
  return expectedClaims(verifier, {
    issuers,
    audiences,
    required: [...(issuers ? ['iss'] : []), ...(audiences ? ['aud'] : []), ...(requireExpiry ? ['exp'] : [])]
  }, options)
}

/** An option that is written down but undefined is a mistake: an unset variable must not switch a check off. */
function stringsWhereGiven (options: IntrospectionVerifierOptions, option: 'issuer' | 'audience'): readonly string[] | undefined {
  return option in options ? nonEmptyStrings(options[option], verifier, option) : undefined
}
