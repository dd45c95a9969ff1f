import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Awaitable } from '../awaitable.ts'
import { bearerToken } from '../internal/http/bearer-token.ts'
import type { CredentialCookie } from '../internal/http/cookie.ts'
import { isId } from '../internal/marks/id.ts'
import { assertFunctions, assertOption, lifetimeOf } from '../internal/plugin/options.ts'
import { credentialOf, logoutMarks } from '../internal/revocation/logout-marks.ts'
import { misconfigured } from '../internal/session-logout/error.ts'
import { loginTimeCheck } from '../internal/session-logout/login-time.ts'
import { assertRevocations, markedById, subjectMark, toleranceOf, type SourceRevocations } from '../internal/session-logout/marks.ts'
import { requestCookie } from '../internal/session-logout/request-cookie.ts'
import { principalOf } from '../principal.ts'
import type { Credential } from '../revocation-store.ts'
import type { SessionsById, SessionSource } from '../session-source.ts'
import { isTokenRejected, type Claims } from '../token-verifier.ts'

/** A session of which a client has tokens. */
export interface JwtSession<C extends Claims = Claims> {
  /** The `sid` of its tokens, or the id of a token without one. */
  readonly id: string
  readonly subject: string
  readonly tenant?: string | undefined
  /** The claims of the token that was found first. */
  readonly claims: C
}

/** Where a token may be: in `Authorization: Bearer`, or in a cookie with the attributes it was set with. */
export type TokenPlace = 'bearer' | CredentialCookie

/** The options of {@link jwtSource}. `verify`, `revocations` and `lifetime` are required. */
export interface JwtSourceOptions<C extends Claims> {
  /**
   * Checks the signature of a token, and not its expiry: a user who logs out with an expired access token may still have a
   * refresh token. Resolves the claims. Resolves nothing, or rejects with a `TokenRejectedError` or an error of `@fastify/jwt` or
   * `fast-jwt`, for a token that is not the host's. Any other rejection means "could not tell".
   */
  readonly verify: (token: string, request: FastifyRequest) => Awaitable<C | undefined | null>
  /** Where the marks are: a revocation store, or a replica of one. */
  readonly revocations: SourceRevocations
  /** The longest lifetime of any token of a session, in milliseconds: that of refresh tokens, if there are any. */
  readonly lifetime: number
  /** How far the clocks of issuer, verifier and store may differ, in milliseconds. @default 0 */
  readonly clockTolerance?: number | undefined
  /** Where to look for tokens. Every token that is found is ended, and every cookie is cleared. @default ['bearer'] */
  readonly from?: readonly TokenPlace[] | undefined
  /** Reads the ids of a token. The `credential` of the host's `revocationGuard` must read the same ones. @default credentialOf */
  readonly credential?: ((claims: C, token: string) => Credential) | undefined
}

/** {@link jwtSource}. By its public id, the `sid`, a session is ended without a token. */
export interface JwtSource<C extends Claims> extends SessionSource<JwtSession<C>>, SessionsById {}

const caller = 'jwtSource'
const longestToken = 16_384

/**
 * Sessions of JWTs: access tokens, refresh tokens or both, of @fastify/jwt or of any verifier.
 *
 * Logging out marks the `sid` of every token that was sent, so tokens with the same `sid` that were not sent are revoked
 * too, and so are those that a refresh in flight makes. `revocationGuard` refuses them, on every node. A token without a
 * `sid` is marked by itself, and can only be logged out with the scope `current`.
 *
 * @throws {TypeError} for an option that is missing or wrong
 * @example
 * ```ts
 * import fastifyJwt from '@fastify/jwt'
 * import Fastify from 'fastify'
 * import { sessionLogout } from 'fastify-logout'
 * import { memoryRevocationStore } from 'fastify-logout/revocation-stores/memory'
 * import { jwtSource } from 'fastify-logout/session-sources/jwt'
 *
 * const app = Fastify()
 * await app.register(fastifyJwt, { secret: 'a secret of at least 32 characters' })
 * await app.register(sessionLogout, {
 *   sessions: jwtSource({
 *     verify: token => app.jwt.verify<{ sub: string, sid: string }>(token, { ignoreExpiration: true }),
 *     revocations: memoryRevocationStore(),
 *     lifetime: 30 * 24 * 3_600_000,
 *     from: ['bearer', { name: 'refresh', path: '/auth' }]
 *   })
 * })
 * ```
 */
export function jwtSource<C extends Claims> (options: JwtSourceOptions<C>): JwtSource<C> {
  const settings = resolveOptions(options)
  const { revocations, lifetime, clockTolerance, places, verifiedTokens, idsToEnd } = settings
  const withoutSessionId = new WeakMap<FastifyRequest, string>()
  const checkLoginTime = loginTimeCheck(caller, 'Give tokens an "iat", or return "loggedInAt" from the option "credential".')
  const isLive = async (credential: Credential) => await revocations.check(credential) === 'live'
  const end = endingSession(settings)

  return {
    readsCookie: places.some(({ remove }) => remove !== undefined),

    find: async request => {
      for (const { credential, session } of await verifiedTokens(request)) {
        const { expiresAt = Infinity } = credential
        if (session === undefined || expiresAt + clockTolerance <= Date.now() || !await isLive(credential)) continue
        checkLoginTime(credential, request)
        if (credential.sessionId === undefined) withoutSessionId.set(request, session.id)
        return session
      }
      return undefined
    },

    logOut: async request => {
      const ended = await Promise.all(newestOfEachSession(await verifiedTokens(request, idsToEnd)).map(end))
      return ended.find(session => session !== undefined)
    },

    logOutSubject: async (query, request) => {
      if (request !== undefined && query.except !== undefined && query.except === withoutSessionId.get(request)) {
        throw misconfigured(caller, 'the token has no "sid": to log out other sessions, give all tokens of a session the same "sid"')
      }
      await revocations.revoke(subjectMark(query, { lifetime, clockTolerance }))
    },

    ...markedById(revocations, { lifetime, clockTolerance }),

    forget: (_request, reply) => { for (const { remove } of places) remove?.(reply) }
  }
}

interface Settings<C extends Claims> extends ReturnType<typeof resolveOptions<C>> {}

/** Ends the session of some tokens. Resolves it if it was live and this call ended it. */
function endingSession<C extends Claims> ({ revocations, lifetime, clockTolerance }: Settings<C>) {
  return async ({ credential, session }: VerifiedToken<C>): Promise<JwtSession<C> | undefined> => {
    const { issuedAt = Infinity, sessionId, tokenId } = credential
    const ids = sessionId === undefined || tokenId === undefined ? credential : { ...credential, tokenId: undefined }
    const ended = await revocations.revokeOnce(ids, ...logoutMarks(ids, { lifetime, clockTolerance }))
    return ended && issuedAt + lifetime + clockTolerance > Date.now() ? session : undefined
  }
}

/** A token whose signature is good. */
interface VerifiedToken<C extends Claims> {
  readonly credential: Credential
  /** Its session. Missing for a token without a user. */
  readonly session: JwtSession<C> | undefined
}

/**
 * One token for each session, in the order in which they were found. A cutoff that covers the newest token of a session
 * covers all of them.
 */
function newestOfEachSession<C extends Claims> (tokens: ReadonlyArray<VerifiedToken<C>>): Array<VerifiedToken<C>> {
  const newest = new Map<string, VerifiedToken<C>>()
  for (const token of tokens) {
    const { sessionId, tokenId, issuer } = token.credential
    const key = JSON.stringify(sessionId === undefined ? [tokenId] : [sessionId, issuer])
    const known = newest.get(key)
    const session = known?.session ?? token.session
    newest.set(key, { credential: known === undefined || timeOf(token) > timeOf(known) ? token.credential : known.credential, session })
  }
  return [...newest.values()]
}

function timeOf ({ credential: { loggedInAt, issuedAt } }: VerifiedToken<Claims>): number {
  return loggedInAt ?? issuedAt ?? -Infinity
}

function resolveOptions<C extends Claims> (options: JwtSourceOptions<C>) {
  const { verify, revocations, from = ['bearer'], credential = credentialOf } = options ?? {}
  assertOption(verify !== undefined, caller, 'verify', 'is missing: pass token => app.jwt.verify(token, { ignoreExpiration: true })')
  assertFunctions(options, caller, ['verify', 'credential'])
  assertRevocations(revocations, caller)
  assertOption(options.lifetime !== undefined, caller, 'lifetime', 'is missing: pass the longest lifetime of a token, in milliseconds')
  assertOption(Array.isArray(from) && from.length > 0 && from.every(isPlace), caller, 'from',
    'must be a list of places: "bearer", or cookies such as { name: "refresh" }')
  const places = from.map(placeOf)
  const tokensOf = (request: FastifyRequest) => {
    return new Set(places.flatMap(({ read }) => read(request)).filter(token => token.length <= longestToken))
  }

  return {
    revocations,
    lifetime: lifetimeOf(options.lifetime, 0, caller, 'lifetime'),
    clockTolerance: toleranceOf(options.clockTolerance, caller),
    places,
    idsToEnd: options.credential ?? idsOfSession,
    verifiedTokens: async (request: FastifyRequest, idsOf: IdsOf<C> = credential): Promise<Array<VerifiedToken<C>>> => {
      const verified = await Promise.all(Array.from(tokensOf(request), async token => {
        const claims = await claimsOf(() => verify(token, request))
        return claims === undefined ? [] : [verifiedToken(claims, withExpiry(idsOf(claims, token), claims))]
      }))
      return verified.flat()
    }
  }
}

type IdsOf<C extends Claims> = (claims: C, token: string) => Credential

/** As credentialOf, but a token with a session ends with it: the id of the token, for many a digest of all of it, is not made. */
function idsOfSession (claims: Claims, token: string): Credential {
  return credentialOf(claims, principalOf(claims).sessionId === undefined ? token : undefined)
}

interface Place {
  read (request: FastifyRequest): string[]
  readonly remove?: (reply: FastifyReply) => void
}

function isPlace (place: unknown): boolean {
  return place === 'bearer' || (typeof place === 'object' && place !== null)
}

function placeOf (place: TokenPlace): Place {
  if (place !== 'bearer') return requestCookie(place, caller, 'from')
  return { read: ({ headers }) => [bearerToken(headers.authorization) ?? []].flat() }
}

/** The claims of a token; `undefined` for one that is not the host's. */
async function claimsOf<C extends Claims> (verify: () => Awaitable<C | undefined | null>): Promise<C | undefined> {
  try {
    const claims = await verify()
    if (typeof claims === 'object' || claims === undefined) return claims ?? undefined
  } catch (error) {
    if (isNotOurs(error)) return undefined
    throw error
  }
  throw misconfigured(caller, 'option "verify" must resolve the claims of a token, or undefined')
}

/** Errors of the host's keys, which say nothing of the token. */
const keyErrors = ['FAST_JWT_KEY_FETCHING_ERROR', 'FAST_JWT_INVALID_KEY', 'FAST_JWT_INVALID_OPTION']

function isNotOurs (error: unknown): boolean {
  const code: unknown = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined
  return isTokenRejected(error) || (typeof code === 'string' && /^FA?ST_JWT_/.test(code) && !keyErrors.includes(code))
}

/** A session ends with its tokens, also where the host's own `credential` does not say when that is. */
function withExpiry (credential: Credential, { exp }: Claims): Credential {
  if (credential.expiresAt !== undefined || typeof exp !== 'number') return credential
  return { ...credential, expiresAt: exp * 1000 }
}

function verifiedToken<C extends Claims> (claims: C, credential: Credential): VerifiedToken<C> {
  const { sessionId, tokenId, subject, tenant } = credential
  const id = sessionId ?? tokenId
  if (!isId(id)) throw misconfigured(caller, 'option "credential" must return a "sessionId" or a "tokenId"')
  return { credential, session: isId(subject) ? { id, subject, ...(tenant !== undefined && { tenant }), claims } : undefined }
}
