import type { MarkRow, MarkQuestion } from '../marks/row.ts'
import { literal, literals, mysqlClock as clock, withValues } from './mysql-literal.ts'
import { assertShort, quotedTable } from './sql-table.ts'

/**
 * The name of the table, quoted.
 *
 * @throws {TypeError} for a wrong name; `caller` begins the message.
 */
export function revocationTableName (table: string, caller: string): string {
  assertShort(table.slice(table.indexOf('.') + 1), caller)
  return quotedTable(table, caller, '`')
}

/*
 * `maker` is the random number of the call that last made the mark revoke something more: who finds their own number there
 * has made it.
 *
 * `written` is what feeds go by. A mark that was added or changed has none, and every feed hands out all marks that have
 * none. Now and then a feed gives them one, in a statement for which it locks the row `turn`. So numbers become visible in
 * their order: who has seen one has seen all marks with lesser ones, however long transactions take, and in whatever order
 * they end. Numbers go by the clock, in milliseconds with room for 1024 each: a server that lost its last commits in a crash
 * must not give their numbers again, as UUID_SHORT() did after a restart within a second. Rows that are not marks have the
 * number 0.
 */

/** The statement that makes the table where it is missing. */
export function revocationTable (table: string): string {
  return `CREATE TABLE IF NOT EXISTS ${table} (
  id VARBINARY(160) NOT NULL,
  issuer VARBINARY(160) NOT NULL,
  tenant VARBINARY(160) NOT NULL,
  \`except\` VARBINARY(160) NOT NULL,
  cutoff BIGINT NOT NULL,
  \`until\` BIGINT NOT NULL,
  maker BIGINT UNSIGNED NOT NULL,
  written BIGINT UNSIGNED,
  PRIMARY KEY (id, issuer, tenant, \`except\`),
  KEY by_written (written),
  KEY by_until (\`until\`)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`
}

const key = ['id', 'issuer', 'tenant', '`except`'] as const
const columns = `${key.join(', ')}, cutoff, \`until\``
const sameKey = (one: string, other: string) => key.map(name => `${one}.${name} = ${other}.${name}`).join(' AND ')

/** The rows as a derived table. */
function given (rows: readonly MarkRow[]): string {
  const names = [...key, 'cutoff', '`until`']
  const values = rows.map(({ id, issuer, tenant, except, cutoff, until }) => [id, issuer, tenant, except, cutoff, until])
  return values.map(row => `SELECT ${row.map((value, index) => `${literal(value)} AS ${names[index]}`).join(', ')}`).join(' UNION ALL ')
}

/** For MariaDB, a limit of a second to each wait for a lock in the statement that follows. MySQL reads a comment. */
const waitsForASecond = '/*M! SET STATEMENT innodb_lock_wait_timeout = 1 FOR */'

/** The statements of the store. */
export function revocationStatements (table: string) {
  const isKnown = `${table}.\`until\` > ${clock} AND ${table}.cutoff >= given.cutoff`
  return {
    // LAST_INSERT_ID() reports whether a row was there before: the maker of one of them.
    // The marks of several calls do not wait long for a row that the mark of one of them finds locked.
    revoke: (rows: readonly MarkRow[], maker: number, isShared: boolean) => `${isShared ? waitsForASecond : ''}
      INSERT INTO ${table} (${columns}, maker)
      SELECT given.*, ${maker} FROM (${given(rows)}) AS given WHERE given.\`until\` > ${clock}
      ON DUPLICATE KEY UPDATE
        maker = IF(LAST_INSERT_ID(${table}.maker) > 0 AND ${isKnown}, ${table}.maker, ${maker}),
        written = IF(${isKnown} AND ${table}.\`until\` >= given.\`until\`, ${table}.written, NULL),
        cutoff = IF(${table}.\`until\` > ${clock}, GREATEST(${table}.cutoff, given.cutoff), given.cutoff),
        \`until\` = GREATEST(${table}.\`until\`, given.\`until\`)`,

    makers: (ids: readonly string[]) => `SELECT ${key.join(', ')}, maker FROM ${table} WHERE id IN (${literals(ids)})`,

    known: (ids: readonly string[]) => `SELECT clock.now, kept.* FROM (SELECT ${clock} AS now) AS clock
      LEFT JOIN (SELECT ${columns} FROM ${table} WHERE id IN (${literals(ids)}) AND \`until\` > ${clock}) AS kept ON TRUE`,

    check: ({ ids, issuedAt, session, issuer, tenant }: MarkQuestion) => withValues(`SELECT 1 FROM ${table}
      WHERE \`until\` > ${clock} AND id IN (${literals(ids)}) AND cutoff >= ? AND (\`except\` = ? OR \`except\` <> ?)
      AND (issuer = ? OR ? = ? OR issuer = ?) AND (tenant = ? OR ? = ? OR tenant = ?) LIMIT 1`,
    issuedAt, '', session, '', issuer, '', issuer, '', tenant, '', tenant),

    claim: (id: string, until: number, maker: number) => withValues(`INSERT INTO ${table} (${columns}, maker, written)
      VALUES (?, ?, ?, ?, 0, ?, ?, 0)`, id, '', '', '', until, maker),

    claimAgain: (id: string, until: number, maker: number) => withValues(`UPDATE ${table} SET \`until\` = ?, maker = ?
      WHERE id = ? AND issuer = ? AND tenant = ? AND \`except\` = ? AND \`until\` <= ${clock}`, until, maker, id, '', '', ''),

    // What another transaction has locked is left for the next time.
    sweep: (count: number) => `DELETE old FROM (
        SELECT ${key.join(', ')} FROM ${table} FORCE INDEX (by_until) WHERE \`until\` < ${clock} - 60000
        ORDER BY \`until\` LIMIT ${count} FOR UPDATE SKIP LOCKED
      ) AS due STRAIGHT_JOIN ${table} AS old FORCE INDEX (PRIMARY) ON ${sameKey('old', 'due')}`
  }
}

/** The id of the row that a feed locks while it gives numbers. */
const turn = literal('n')
function turnIs (name: string): string {
  return withValues(`${name}.id = ${turn} AND ${name}.issuer = ? AND ${name}.tenant = ? AND ${name}.\`except\` = ?`, '', '', '')
}

/** The ids of marks begin with `s`, `t` or `u`, all others before that. */
const firstMark = literal('s')

/** The values of the table's key, in their order. */
export type MarkKey = readonly [id: string, issuer: string, tenant: string, except: string]

/** What a feed reads. */
export interface ReadQuery {
  /** The id of its heartbeat. */
  readonly heartbeat: string
  /** The number up to which it has seen all marks: digits. */
  readonly seen: string
  /** How many marks with a number at most, and how many without. */
  readonly count: number
}

/** The statements of a feed. */
export function revocationFeedStatements (table: string) {
  const about = `CONCAT_WS('/', @@hostname, @@port, @@server_id) AS server, ${clock} AS now`
  const numbered = 'CAST(written AS CHAR) AS written'
  return {
    begin: `SELECT ${about}, COALESCE((SELECT CAST(MAX(written) AS CHAR) FROM ${table}), '0') AS seen`,

    load: ([id, issuer, tenant, except]: MarkKey, count: number) => withValues(`SELECT about.*, mark.*
      FROM (SELECT ${about}) AS about LEFT JOIN (SELECT ${columns} FROM ${table} WHERE id >= ? AND \`until\` > ${clock}
        AND (id > ? OR issuer > ? OR (issuer = ? AND (tenant > ? OR (tenant = ? AND \`except\` > ?))))
        ORDER BY ${key.join(', ')} LIMIT ?) AS mark ON TRUE`, id, id, issuer, issuer, tenant, tenant, except, count),

    heartbeat: (id: string, value: number) => writeHeartbeat(table, id, value),

    // While another feed gives numbers, this one has nothing to do.
    number: (count: number) => `UPDATE (
        SELECT due.${key.join(', due.')}, next.number FROM (
          SELECT GREATEST(taken.written + 1, 1024 * ${clock}) AS number FROM ${table} AS taken FORCE INDEX (PRIMARY)
          WHERE ${turnIs('taken')} LIMIT 1 FOR UPDATE SKIP LOCKED
        ) AS next
        STRAIGHT_JOIN ${table} AS due FORCE INDEX (by_written) ON due.written IS NULL LIMIT ${count} FOR UPDATE SKIP LOCKED
      ) AS numbered
      STRAIGHT_JOIN ${table} AS mark FORCE INDEX (PRIMARY) ON ${sameKey('mark', 'numbered')}
      STRAIGHT_JOIN ${table} AS taken FORCE INDEX (PRIMARY) ON ${turnIs('taken')}
      SET mark.written = numbered.number, taken.written = numbered.number`,

    read: ({ heartbeat, seen, count }: ReadQuery) => `SELECT about.*, mark.* FROM (SELECT ${about},
        (SELECT CAST(cutoff AS CHAR) FROM ${table} WHERE ${withValues('id = ? AND issuer = ?', heartbeat, '')}) AS heartbeat) AS about
      LEFT JOIN (
        (SELECT ${columns}, ${numbered} FROM ${table} FORCE INDEX (by_written)
          WHERE written > ${seen} AND id >= ${firstMark} AND \`until\` > ${clock} ORDER BY ${table}.written LIMIT ${count})
        UNION ALL
        (SELECT ${columns}, NULL FROM ${table} FORCE INDEX (by_written) WHERE written IS NULL AND \`until\` > ${clock} LIMIT ${count})
      ) AS mark ON TRUE`
  }
}

/** Writes a heartbeat, and with the first one the row `turn`. */
function writeHeartbeat (table: string, id: string, value: number): string {
  return `INSERT INTO ${table} (${columns}, maker, written)
    SELECT given.*, 1, 0 FROM (
      ${withValues('SELECT ? AS id, ? AS issuer, ? AS tenant, ? AS `except`, ? AS cutoff', id, '', '', '', value)},
        ${clock} + 600000 AS \`until\`
      UNION ALL ${withValues('SELECT ?, ?, ?, ?, 0, ?', 'n', '', '', '', Number.MAX_SAFE_INTEGER)}
    ) AS given
    ON DUPLICATE KEY UPDATE cutoff = given.cutoff,
      \`until\` = IF(${table}.\`until\` < given.\`until\` - 300000, given.\`until\`, ${table}.\`until\`)`
}
