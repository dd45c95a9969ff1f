import { clientAuthentication, type Client, type Credentials } from '../internal/oauth/client-authentication.ts'
import { claimMembers, expectedClaims, type CheckClaims, type ClaimOptions } from '../internal/jose/expected-claims.ts'
import { expiringCache } from '../internal/collections/expiring-cache.ts'
import { httpMembers, requestJson, requestLimits, type HttpOptions, type RequestLimits } from '../internal/http/json-request.ts'
import { defaultMaxTokenLength, refuseMalformed, refuseOtherSpellings } from '../internal/jose/jwt.ts'
import { assertGroup, assertGrouped, assertOption, nonEmptyStrings, wholeNumber } from '../internal/plugin/options.ts'
import { isSecureUrl } from '../internal/http/secure-url.ts'
import { tokenDigest } from '../token-digest.ts'
import { rejected, type Claims, type VerifyToken } from '../token-verifier.ts'

export type { Client, KeyClient, SecretClient } from '../internal/oauth/client-authentication.ts'

/**
 * What {@link introspectionVerifier} demands of the claims of a token. Times are milliseconds.
 *
 * `acceptExpiredFor` helps only with a server that still calls an expired token active. Few do.
 */
export interface IntrospectionClaimOptions extends ClaimOptions {
  /**
   * Whether an active token without `exp` is refused. The standard lets servers omit it.
   * @default true
   */
  readonly requireExpiry?: boolean | undefined
}

/** For how long, and for how many tokens, {@link introspectionVerifier} remembers what the server said. */
export interface IntrospectionCacheOptions {
  /**
   * How long an active token is accepted without asking again, in milliseconds, never beyond its `exp`. A token that is
   * revoked meanwhile passes until then. 0 asks every time.
   * @default 0
   */
  readonly maxAge?: number | undefined
  /**
   * How many tokens are remembered at most.
   * @default 1000
   */
  readonly size?: number | undefined
}

/** The options of {@link introspectionVerifier}. `endpoint` and `client` are required. */
export interface IntrospectionVerifierOptions {
  /** The introspection endpoint: https, or http on this machine. */
  readonly endpoint: string
  /** Our registration at the authorization server, and how we authenticate. */
  readonly client: Client
  /** If given, `iss` must be present and exactly one of these. */
  readonly issuer?: string | readonly string[]
  /** If given, `aud` must be present and contain one of these. Without it every active token passes, whoever it is for. */
  readonly audience?: string | readonly string[]
  /** What else is demanded of the claims. */
  readonly claims?: IntrospectionClaimOptions | undefined
  /** What is remembered. @default nothing: the server is asked about every token */
  readonly cache?: IntrospectionCacheOptions | undefined
  /**
   * Longer tokens are refused without asking. In characters.
   * @default 16384
   */
  readonly maxTokenLength?: number | undefined
  /** How requests to the server are made. */
  readonly http?: HttpOptions | undefined
}

const caller = 'introspectionVerifier'

function resolveOptions (options: IntrospectionVerifierOptions) {
  const { endpoint, cache = {} } = options
  assertGrouped(options, caller, { claims: [...claimMembers, 'requireExpiry'], cache: ['maxAge', 'size'], http: httpMembers })
  assertOption(isSecureUrl(endpoint), caller, 'endpoint', 'must be an https URL without a password (http only for this machine)')
  assertGroup(cache, caller, 'cache', '{ maxAge: 10_000 }')
  const limits = requestLimits(options.http, 64 * 1024, caller)
  return {
    server: { endpoint, limits, credentials: clientAuthentication(options.client, endpoint, caller) },
    checkClaims: claimCheck(options),
    maxAge: wholeNumber(cache.maxAge, caller, 'cache.maxAge', { standard: 0, least: 0 }),
    cache: expiringCache<Claims>(wholeNumber(cache.size, caller, 'cache.size', { standard: 1000, least: 1 })),
    maxTokenLength: wholeNumber(options.maxTokenLength, caller, 'maxTokenLength', { standard: defaultMaxTokenLength, least: 1 })
  }
}

function claimCheck (options: IntrospectionVerifierOptions): CheckClaims {
  const { requireExpiry = true } = Object(options.claims) as IntrospectionClaimOptions
  assertOption(typeof requireExpiry === 'boolean', caller, 'claims.requireExpiry', 'must be true or false')
  const issuers = stringsIfGiven(options, 'issuer')
  const audiences = stringsIfGiven(options, 'audience')
  return expectedClaims(caller, {
    issuers,
    audiences,
    required: [...(issuers ? ['iss'] : []), ...(audiences ? ['aud'] : []), ...(requireExpiry ? ['exp'] : [])]
  }, options.claims)
}

/** An option that is written down but undefined is a mistake: an unset variable must not switch a check off. */
function stringsIfGiven (options: IntrospectionVerifierOptions, option: 'issuer' | 'audience'): readonly string[] | undefined {
  return option in options ? nonEmptyStrings(options[option], caller, option) : undefined
}

/**
 * Asks the authorization server about each token, opaque or not. Concurrent callers with one token share a request.
 *
 * A token that the server does not call active, or of a type that it does not support, is refused as `revoked`: the server
 * does not say whether it was revoked, has expired or never existed. Everything but a clear answer is an outage: a refusal
 * of our own credentials, a 5xx, no JSON, no `active`, no answer in time. The claims are frozen, because callers may
 * share them.
 *
 * @throws {TypeError} for an option that is missing or unsafe
 * @see https://www.rfc-editor.org/rfc/rfc7662
 * @example
 * ```ts
 * import { introspectionVerifier } from 'fastify-logout/token-verifiers/introspection'
 *
 * const verifyToken = introspectionVerifier({
 *   endpoint: 'https://login.example/oauth2/introspect',
 *   client: { id: 'api', secret: String(process.env['CLIENT_SECRET']), method: 'basic' },
 *   audience: 'https://api.example'
 * })
 * ```
 */
export function introspectionVerifier (options: IntrospectionVerifierOptions): VerifyToken {
  const { server, checkClaims, maxAge, cache, maxTokenLength } = resolveOptions(options)
  const pending = new Map<string, Promise<Claims>>()

  async function askOnce (token: string, digest: string): Promise<Claims> {
    try {
      const claims = await introspect(server, token)
      checkClaims(claims)
      const { exp } = claims
      cache.set(digest, claims, Math.min(Date.now() + maxAge, typeof exp === 'number' ? exp * 1000 : Infinity))
      return claims
    } finally {
      pending.delete(digest)
    }
  }

  return (token) => {
    refuseMalformed(token, maxTokenLength)
    refuseUnsendable(token)
    const digest = tokenDigest(token)
    const known = cache.get(digest)
    if (known !== undefined) return known
    const answer = pending.get(digest) ?? askOnce(token, digest)
    pending.set(digest, answer)
    return answer
  }
}

/**
 * Refuses what no server issues and what a lenient one may take for another token: with white space around it, or a JWT
 * whose signature is spelled otherwise. Digests of tokens are keys elsewhere.
 */
function refuseUnsendable (token: string): void {
  if (!/^[\x21-\x7e]+$/.test(token)) throw rejected('malformed', 'the token has characters that no token has')
  if (/^ey[^.]*\.[^.]*\.[^.]*$/.test(token)) refuseOtherSpellings(token)
}

interface Server {
  readonly endpoint: string
  readonly limits: RequestLimits
  readonly credentials: () => Credentials
}

/**
 * What some servers say, with a 400, to a JWT where they issue opaque tokens: the caller's fault and not ours.
 * @see https://www.rfc-editor.org/rfc/rfc7009#section-2.2.1
 */
const unsupported = 'unsupported_token_type'

async function introspect (server: Server, token: string): Promise<Claims> {
  const claims = await activeClaims(server, token)
  if (claims === undefined) throw rejected('revoked', 'the authorization server does not call the token active')
  if (isOfAnotherKind(claims)) throw rejected('untrusted', 'the token is not an access token')
  return claims
}

/** The claims of an active token, `undefined` for an inactive one. */
async function activeClaims ({ endpoint, limits, credentials }: Server, token: string): Promise<Claims | undefined> {
  const { headers, form } = credentials()
  const body = new URLSearchParams({ token, token_type_hint: 'access_token', ...form })
  try {
    const { status, json } = await requestJson(limits, endpoint, { method: 'POST', headers, body, alsoRead: 400 })
    const { active, error, ...claims } = Object(json)
    if (status === 400 && error === unsupported) return undefined
    if (status !== 200) throw new Error(`the response has status ${status}`)
    if (typeof active !== 'boolean') throw new Error('the response does not say whether the token is active')
    return active ? frozen(claims) : undefined
  } catch (cause) {
    throw new Error('the authorization server could not say whether the token is active', { cause })
  }
}

/** Refresh and ID tokens are active too. Ory says `token_use`, Keycloak `typ`. */
function isOfAnotherKind ({ token_use: use, typ }: Claims): boolean {
  return (use !== undefined && use !== 'access_token') || typ === 'Refresh' || typ === 'Offline' || typ === 'ID'
}

/** Freezes a value and all that is in it, however deep: a loop does not exhaust the stack. */
function frozen<Value> (value: Value): Value {
  const open: unknown[] = [value]
  for (const one of open) {
    if (typeof one === 'object' && one !== null) Object.values(Object.freeze(one)).forEach(member => open.push(member))
  }
  return value
}
