import type { FastifyReply } from 'fastify'
import { pathOf, queryOf } from '../http/query.ts'
import type { Ask } from '../plugin/ask.ts'
import type { Session, SessionStore } from '../../session-store.ts'
import { sendKratosError, sendKratosJson } from './error.ts'
import { pageOf, pageQuery, sessionsToList } from './page.ts'
import type { KratosCall } from './routes.ts'
import { kratosSession, type KratosIdentity } from './session.ts'

/** The sessions to list. */
export interface SessionsQuery {
  /** The spellings of the subject's id. The first that has sessions is used. */
  readonly subjects: readonly string[]
  /** Public id of a session to leave out. */
  readonly except?: string | undefined
}

/** Sends a page of live sessions, or a 400 for invalid page parameters. */
export type SendSessions = (call: KratosCall, query: SessionsQuery) => Promise<FastifyReply>

/** Makes the function that sends a page of sessions, each with its identity. */
export function sessionLister (
  { ask, sessions, identity }: { readonly ask: Ask, readonly sessions: Pick<SessionStore, 'list'>, readonly identity: KratosIdentity }
): SendSessions {
  return async ({ request, reply }, { subjects, except }) => {
    const page = pageQuery(queryOf(request))
    if (page === undefined) return sendKratosError(request, reply, badPage)
    const query = { except, after: page.after, limit: sessionsToList(page) }
    let listed: readonly Session[] = []
    for (const subject of subjects) {
      listed = await ask('sessions.list', () => sessions.list({ subject, ...query }))
      if (listed.length > 0) break
    }
    const { sessions: shown, link } = pageOf(listed, page, pathOf(request))
    const [first] = shown
    const owner = first === undefined ? null : await ask('identity', () => identity(first.subject))
    return sendKratosJson(reply.header('link', link), shown.map(session => kratosSession(session, owner)))
  }
}

const badPage = { status: 400, reason: 'The page cannot be read. Follow the Link header of the previous page.' }
