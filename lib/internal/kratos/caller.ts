import type { FastifyRequest } from 'fastify'
import type { IncomingHttpHeaders } from 'node:http'
import type { Ask } from '../plugin/ask.ts'
import { detachEndedSession, hostSessionId } from '../plugin/detach-session.ts'
import type { ReadSessionCookie } from './session-cookie.ts'
import { isLive, type Session, type SessionStore } from '../../session-store.ts'

/** The session token of a request. */
export interface KratosCredential {
  readonly token: string
  /** Whether the session cookie has this token too: when the session ends, the cookie must be removed. */
  readonly inCookie: boolean
}

/** Like Ory Kratos: one space, and nothing after the token. RFC 6750 allows several spaces. */
const bearer = /^bearer (\S+)$/i

/**
 * Finds the session token in the order of Ory Kratos: in `X-Session-Token`, then in the session cookie, then in
 * `Authorization: Bearer`. The first token is used, even if its session no longer exists.
 */
export function kratosCredential (headers: IncomingHttpHeaders, readCookie: ReadSessionCookie): KratosCredential | undefined {
  const cookie = readCookie(headers.cookie)
  const header = String(headers['x-session-token'] ?? '')
  const token = header !== '' ? header : cookie ?? bearer.exec(headers.authorization ?? '')?.[1]
  return token === undefined ? undefined : { token, inCookie: token === cookie }
}

/** The live session of a request, and the credential by which it was found. */
export interface KratosCaller extends KratosCredential {
  readonly session: Session
}

/** Finds the live session of a request. */
export type FindKratosCaller = (request: FastifyRequest) => Promise<KratosCaller | undefined>

/** The options of {@link kratosCallers}. */
export interface KratosCallersOptions {
  readonly ask: Ask
  readonly sessions: Pick<SessionStore, 'find'>
  readonly readCookie: ReadSessionCookie
}

/** Makes the function that finds the live session of a request. */
export function kratosCallers ({ ask, sessions, readCookie }: KratosCallersOptions): FindKratosCaller {
  return async request => {
    const credential = kratosCredential(request.headers, readCookie)
    if (credential === undefined) return undefined
    const session = await ask('sessions.find', () => sessions.find(credential.token))
    if (session !== undefined && isLive(session, Date.now())) return { ...credential, session }
    // Another request may have logged it out after @fastify/session read it. This request must not save it back.
    if (hostSessionId(request) === credential.token) await detachEndedSession(request, ask)
    return undefined
  }
}
