import type { UserStatus } from '../../user-status-store.ts'

/** The record in a row of an SQL table; `undefined` without a row. */
export function userStatusOf (row: Readonly<Record<string, unknown>> | undefined): UserStatus | undefined {
  if (row === undefined) return undefined
  return {
    status: String(row['status']),
    version: String(row['version']),
    loggedOutAt: timeOf(row['logged_out_at']),
    lastSeenAt: timeOf(row['last_seen_at'])
  }
}

/** `pg` gives a bigint as text; some settings of the SQLite clients give it as a BigInt. */
function timeOf (value: unknown): number | undefined {
  return value === null ? undefined : Number(value)
}
