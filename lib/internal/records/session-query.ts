import type { Session, SessionPage, SubjectLogout } from '../../session-store.ts'
import { sessionIdOf, subjectOf } from './session.ts'

/*
 * What the queries of a session store look for: ids as text, `null` for what was not asked. A query that no session can
 * match is `undefined`, so that no backend is asked for an id that it cannot keep. All throw a TypeError for ids that are
 * neither strings nor whole numbers: to find nothing would be a logout that does not happen.
 */

/** A query for one session. */
export interface IdQuery {
  readonly id: string
  readonly subject: string | null
}

/** A query for the sessions of a subject. */
export interface SubjectQuery {
  readonly subject: string
  readonly except: string | null
}

/** A query for a page of the sessions of a subject. It always has a start, for a comparison that is always there. */
export interface PageQuery extends SubjectQuery {
  readonly start: Pick<Session, 'createdAt' | 'id'>
  readonly limit: number
}

/** One session by its public id; with a subject, only if it is theirs. */
export function queryById (asked: { readonly id: unknown, readonly subject?: unknown }): IdQuery | undefined {
  const id = sessionIdOf(asked.id)
  const subject = asked.subject === undefined ? null : subjectOf(asked.subject)
  return id === undefined || subject === undefined ? undefined : { id, subject }
}

/** The sessions of a subject except one. */
export function queryBySubject (asked: Pick<SubjectLogout, 'subject' | 'except'>): SubjectQuery | undefined {
  const subject = subjectOf(asked.subject)
  return subject === undefined ? undefined : { subject, except: idIfGiven(asked.except) }
}

/** A page of the sessions of a subject. */
export function queryPage (page: SessionPage): PageQuery | undefined {
  const query = queryBySubject(page)
  const { after, limit } = page
  const start = { createdAt: after?.createdAt ?? Number.MAX_SAFE_INTEGER, id: idIfGiven(after?.id) ?? '' }
  return query && { ...query, start, limit }
}

function idIfGiven (id: unknown): string | null {
  return id === undefined || id === null ? null : sessionIdOf(id) ?? null
}
