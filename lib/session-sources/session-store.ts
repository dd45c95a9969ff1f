import type { FastifyRequest } from 'fastify'
import type { Awaitable } from '../awaitable.ts'
import { after } from '../internal/async/awaitable.ts'
import { bearerToken } from '../internal/http/bearer-token.ts'
import type { CredentialCookie } from '../internal/http/cookie.ts'
import { assertFunctions, assertOption } from '../internal/plugin/options.ts'
import { misconfigured } from '../internal/session-logout/error.ts'
import { requestCookie, type RequestCookie } from '../internal/session-logout/request-cookie.ts'
import type { SessionSource } from '../session-source.ts'
import { isLive, type Session, type SessionStore } from '../session-store.ts'

/** Where {@link sessionStoreSource} finds the session token of a request: exactly one of these. */
export interface SessionStoreSourceOptions {
  /** A cookie, with the attributes it was set with. Of several cookies of the name, all are logged out. */
  readonly cookie?: CredentialCookie | undefined
  /** The name of a header. `authorization` means `Authorization: Bearer`. */
  readonly header?: string | undefined
  /** A function of the host. */
  readonly token?: ((request: FastifyRequest) => string | undefined) | undefined
}

/** A {@link SessionStore}, as far as a logout needs it. Without `logOutSubject`, only `current` can be logged out. */
export type LogoutSessionStore = Pick<SessionStore, 'find' | 'logOut'> & Partial<Pick<SessionStore, 'logOutSubject'>>

const caller = 'sessionStoreSource'

/**
 * The sessions of a {@link SessionStore}: ours, or one that implements its contract.
 *
 * Logging out `current` is one call to the store, which reports atomically whether the session was live.
 *
 * @throws {TypeError} for an option that is missing or wrong
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { sessionLogout } from 'fastify-logout'
 * import { sessionStoreSource } from 'fastify-logout/session-sources/session-store'
 * import { memorySessionStore } from 'fastify-logout/session-stores/memory'
 *
 * const app = Fastify()
 * const store = memorySessionStore()
 * await app.register(sessionLogout, { sessions: sessionStoreSource(store, { cookie: { name: 'sid' } }) })
 * ```
 */
export function sessionStoreSource (sessions: LogoutSessionStore, options: SessionStoreSourceOptions): SessionSource<Session> {
  const { cookie, tokensOf } = resolveOptions(sessions, options)

  return {
    readsCookie: cookie !== undefined,
    find: request => firstLive(tokensOf(request), token => sessions.find(token)),
    logOut: request => firstLive(tokensOf(request), token => sessions.logOut(token)),
    ...(sessions.logOutSubject !== undefined && {
      logOutSubject: ({ subject, tenant, except }) => {
        if (tenant !== undefined) throw misconfigured(caller, 'a SessionStore has no tenants: give each tenant a store of its own')
        return sessions.logOutSubject?.({ subject, except })
      }
    }),
    ...(cookie !== undefined && { forget: (_request, reply) => { cookie.remove(reply) } })
  }
}

function resolveOptions (sessions: LogoutSessionStore, options: SessionStoreSourceOptions): {
  readonly cookie: RequestCookie | undefined
  readonly tokensOf: (request: FastifyRequest) => string[]
} {
  assertOption(typeof sessions?.find === 'function' && typeof sessions.logOut === 'function', caller, 'sessions',
    'is missing: pass a session store, such as memorySessionStore()')
  assertFunctions(sessions, caller, ['logOutSubject'])
  const { cookie, header, token } = options ?? {}
  const given = [cookie, header, token].filter(place => place !== undefined)
  assertOption(given.length === 1, caller, 'cookie', 'or "header" or "token" must be given, and only one of them')
  if (cookie !== undefined) {
    const read = requestCookie(cookie, caller, 'cookie')
    return { cookie: read, tokensOf: request => [...new Set(read.read(request))] }
  }
  const isHeader = header === undefined || (typeof header === 'string' && /^[\w-]+$/.test(header))
  assertOption(isHeader, caller, 'header', 'must be the name of a header')
  const tokenOf = header === undefined ? token : headerReader(header)
  assertOption(typeof tokenOf === 'function', caller, 'token', 'must be a function, request => token')
  return { cookie: undefined, tokensOf: request => [tokenOf(request) ?? []].flat().filter(value => value !== '') }
}

/** Asks the store about each token, and returns the first session that is live. A single token takes no promise of its own. */
function firstLive (tokens: readonly string[], ask: (token: string) => Awaitable<Session | undefined>): Awaitable<Session | undefined> {
  const [first, ...others] = tokens
  if (others.length > 0) return firstLiveOfMany(tokens, ask)
  return first === undefined ? undefined : after(ask(first), liveOne)
}

async function firstLiveOfMany (
  tokens: readonly string[], ask: (token: string) => Awaitable<Session | undefined>
): Promise<Session | undefined> {
  return (await Promise.all(tokens.map(token => ask(token)))).find(liveOne)
}

function liveOne (session: Session | undefined): Session | undefined {
  return session !== undefined && isLive(session, Date.now()) ? session : undefined
}

function headerReader (header: string): (request: FastifyRequest) => string | undefined {
  const name = header.toLowerCase()
  return ({ headers }) => name === 'authorization' ? bearerToken(headers.authorization) : headers[name]?.toString()
}
