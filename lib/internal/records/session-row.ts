import type { Session } from '../../session-store.ts'
import { isTrue } from './row-value.ts'
import { sessionOf } from './session.ts'

/** The columns that {@link sessionOfRow} reads from the table `kept`, except `active`. */
export const sessionColumns = 'kept.id, kept.subject, kept.created_at, kept.expires_at, kept.keep_until, kept.details'

/** The session in a row of a database. */
export function sessionOfRow (row: Readonly<Record<string, unknown>>): Session {
  return sessionOf({
    id: String(row['id']),
    subject: String(row['subject']),
    createdAt: Number(row['created_at']),
    expiresAt: Number(row['expires_at']),
    keepUntil: Number(row['keep_until']),
    details: String(row['details'])
  }, isTrue(row['active']))
}

/** The session in the first row, if there is one. */
export function firstSession ([row]: ReadonlyArray<Readonly<Record<string, unknown>>>): Session | undefined {
  return row && sessionOfRow(row)
}
