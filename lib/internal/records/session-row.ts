import { isSessionId, sessionOf } from './session.ts'
import type { Session, SessionPage } from '../../session-store.ts'

/** The columns that {@link sessionOfRow} reads from the table `kept`, but for `active`. */
export const sessionColumns = 'kept.id, kept.subject, kept.created_at, kept.expires_at, kept.keep_until, kept.details'

/** The session in a row of a database. */
export function sessionOfRow (row: Record<string, unknown>): Session {
  return sessionOf({
    id: String(row['id']),
    subject: String(row['subject']),
    createdAt: Number(row['created_at']),
    expiresAt: Number(row['expires_at']),
    keepUntil: Number(row['keep_until']),
    details: String(row['details'])
  }, Boolean(row['active']))
}

/** The session in the first row, if there is one. */
export function firstSession ([row]: Array<Record<string, unknown>>): Session | undefined {
  return row && sessionOfRow(row)
}

/** Behind what a page starts: `created_at` and `id`, for a comparison that is always there. */
export function pageStart ({ after }: SessionPage): [createdAt: number, id: string] {
  return after === undefined ? [Number.MAX_SAFE_INTEGER, ''] : [after.createdAt, isSessionId(after.id) ? after.id : '']
}
