import { literals, withValues } from './mysql-literal.ts'
import { assertShort, quotedTable } from './sql-table.ts'

/** A logout of a user whose record still has the version that was seen. */
export interface SeenLogout {
  readonly tenant: string
  readonly subject: string
  readonly seen: string
  readonly version: string
  readonly loggedOutAt: number
  readonly requestId: string
}

/** How many bytes of UTF-8 the ids and the status may have: together they must fit into a key. */
export const mostBytes = { tenant: 1020, subject: 2048, status: 255 }

/**
 * The name of the table, quoted.
 *
 * @throws {TypeError} for a wrong name; `caller` begins the message.
 */
export function userTableName (table: string, caller: string): string {
  assertShort(table.slice(table.indexOf('.') + 1), caller)
  return quotedTable(table, caller, '`')
}

/** The statement that makes the table where it is missing. */
export function userTable (users: string): string {
  return `CREATE TABLE IF NOT EXISTS ${users} (
  tenant VARBINARY(${mostBytes.tenant}) NOT NULL,
  subject VARBINARY(${mostBytes.subject}) NOT NULL,
  status VARBINARY(${mostBytes.status}) NOT NULL,
  version VARBINARY(64) NOT NULL DEFAULT (UUID()),
  logged_out_at BIGINT,
  last_seen_at BIGINT,
  request_id LONGBLOB,
  PRIMARY KEY (tenant, subject)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`
}

type Ids = readonly [tenant: string, subject: string]

interface Change {
  readonly version: string
  readonly status: 'logged_in' | 'logged_out'
  readonly at: number
  readonly requestId: string
}

const columns = 'tenant, subject, status, version, logged_out_at, last_seen_at'
const ours = `status IN (${literals(['logged_in', 'logged_out'])})`

/** The statements of the store. */
export function userStatements (users: string) {
  return {
    get: (keys: readonly Ids[]) => `SELECT ${columns} FROM ${users}
      WHERE ${keys.map(key => withValues('tenant = ? AND subject = ?', ...key)).join(' OR ')}`,

    create: (ids: Ids, { version, status, at, requestId }: Change) => withValues(
      `INSERT INTO ${users} (${columns}, request_id) VALUES (?, ?, ?, ?, ?, ?, ?)`,
      ...ids, status, version, status === 'logged_out' ? at : null, status === 'logged_in' ? at : null, requestId),

    update (ids: Ids, expected: string, { version, status, at, requestId }: Change) {
      const time = status === 'logged_out' ? 'logged_out_at' : 'last_seen_at'
      return withValues(`UPDATE ${users} SET version = ?, status = ?, request_id = ?, ${time} = GREATEST(COALESCE(${time}, ?), ?)
        WHERE tenant = ? AND subject = ? AND version = ? AND ${ours}`, version, status, requestId, at, at, ...ids, expected)
    },

    logOut: (logouts: readonly SeenLogout[]) => logOutStatement(users, logouts),

    set: (ids: Ids, version: string, status: string) => withValues(
      `INSERT INTO ${users} (tenant, subject, version, status) VALUES (?, ?, ?, ?) ON DUPLICATE KEY UPDATE version = ?, status = ?`,
      ...ids, version, status, version, status),

    remove: (ids: Ids) => withValues(`DELETE FROM ${users} WHERE tenant = ? AND subject = ?`, ...ids)
  }
}

/** Changes the records that still have the version that was seen. What another transaction has locked is not waited for. */
function logOutStatement (users: string, logouts: readonly SeenLogout[]): string {
  const names = ['tenant', 'subject', 'seen', 'version', 'at', 'request']
  const given = logouts.map(({ tenant, subject, seen, version, loggedOutAt, requestId }) => {
    const values = [tenant, subject, seen, version, loggedOutAt, requestId]
    return `SELECT ${values.map((value, index) => `${literals([value])} AS \`${names[index]}\``).join(', ')}`
  })
  const keptIs = (other: string) => `kept.tenant = ${other}.tenant AND kept.subject = ${other}.subject`
  return `UPDATE (
      SELECT given.* FROM (${given.join(' UNION ALL ')}) AS given
      STRAIGHT_JOIN ${users} AS kept FORCE INDEX (PRIMARY) ON ${keptIs('given')} AND kept.version = given.seen AND kept.${ours}
      LIMIT ${logouts.length} FOR UPDATE SKIP LOCKED
    ) AS free STRAIGHT_JOIN ${users} AS kept FORCE INDEX (PRIMARY) ON ${keptIs('free')}
    SET kept.version = free.version, kept.status = ${literals(['logged_out'])},
      kept.logged_out_at = free.at, kept.request_id = free.request`
}
