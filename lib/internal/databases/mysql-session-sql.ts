import { sessionColumns } from '../records/session-row.ts'
import type { PageQuery, SubjectQuery } from '../records/session-query.ts'
import type { SessionRecord } from '../records/session.ts'
import { literals, mysqlClock, withValues } from './mysql-literal.ts'
import { assertShort, quotedTable } from './sql-table.ts'

/** The names of what `mysqlSessionStore` keeps in the database, quoted. */
export interface SessionNames {
  readonly sessions: string
  readonly everywhere: string
}

/**
 * The names that are made from the name of the table.
 *
 * @throws {TypeError} for a wrong name; `caller` begins the message.
 */
export function sessionNames (table: string, caller: string): SessionNames {
  const sessions = quotedTable(table, caller, '`')
  assertShort(table.slice(table.indexOf('.') + 1), caller)
  return { sessions, everywhere: quotedTable(`${table}_everywhere`, caller, '`') }
}

/*
 * Sessions are numbered in the order in which they begin. A logout of a subject everywhere is one row, which ends the
 * sessions of the subject up to the latest number, except for one: it takes as long for ten sessions as for ten thousand,
 * and a login takes no lock that such a logout waits for.
 *
 * A session that is logged out by itself has a random number of the call that ended it, so each session is ended once:
 * whoever finds their own number there is the one who did it.
 *
 * Ids are bytes: no collation takes two of them for one, and none ignores a space at the end.
 */

/** The statements that make the tables where they are missing. */
export function sessionTables ({ sessions, everywhere }: SessionNames): string[] {
  return [
    `CREATE TABLE IF NOT EXISTS ${sessions} (
  serial_number BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  digest VARBINARY(64) NOT NULL UNIQUE,
  id VARBINARY(765) NOT NULL UNIQUE,
  subject VARBINARY(1536) NOT NULL,
  ended_by BIGINT UNSIGNED NOT NULL DEFAULT 0,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  keep_until BIGINT NOT NULL,
  details LONGBLOB NOT NULL,
  KEY by_subject (subject),
  KEY by_keep_until (keep_until)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`,
    `CREATE TABLE IF NOT EXISTS ${everywhere} (
  subject VARBINARY(1536) NOT NULL,
  up_to BIGINT UNSIGNED NOT NULL,
  excepted VARBINARY(765) NOT NULL,
  PRIMARY KEY (subject, up_to, excepted)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`
  ]
}

/** The statements of the store. */
export function sessionStatements (names: SessionNames) {
  return { ...loginStatements(names), ...logoutStatements(names), ...pruneStatements(names) }
}

/** Whether a logout everywhere ended the session `kept`. */
function endedEverywhere (everywhere: string): string {
  return `EXISTS (SELECT 1 FROM ${everywhere} AS logout
    WHERE logout.subject = kept.subject AND logout.up_to >= kept.serial_number AND logout.excepted <> kept.id)`
}

function loginStatements ({ sessions, everywhere }: SessionNames) {
  const columns = 'digest, id, subject, created_at, expires_at, keep_until, details'
  return {
    create: (digest: string, { id, subject, createdAt, expiresAt, keepUntil, details }: SessionRecord) =>
      `INSERT INTO ${sessions} (${columns}) VALUES (${literals([digest, id, subject, createdAt, expiresAt, keepUntil, details])})`,

    forget: (digest: string, id: string, now: number) =>
      withValues(`DELETE FROM ${sessions} WHERE (digest = ? OR id = ?) AND keep_until <= ?`, digest, id, now),

    find: (digests: readonly string[], now: number) => `${selected({ sessions, everywhere })}
      WHERE kept.digest IN (${literals(digests)}) AND kept.keep_until > ${literals([now])}`,

    findById: (id: string, now: number) => withValues(`${selected({ sessions, everywhere })}
      WHERE kept.id = ? AND kept.keep_until > ?`, id, now),

    list: ({ subject, except, start, limit }: PageQuery, now: number) => withValues(`${selected({ sessions, everywhere })}
      WHERE kept.subject = ? AND kept.ended_by = 0 AND kept.expires_at > ? AND NOT (kept.id <=> ?)
      AND (kept.created_at < ? OR (kept.created_at = ? AND kept.id < ?)) AND NOT (${endedEverywhere(everywhere)})
      ORDER BY kept.created_at DESC, kept.id DESC LIMIT ?`,
    subject, now, except, start.createdAt, start.createdAt, start.id, limit)
  }
}

function selected ({ sessions, everywhere }: SessionNames): string {
  return `SELECT ${sessionColumns}, kept.digest, CAST(kept.serial_number AS CHAR) AS serial_number,
    kept.ended_by = 0 AND NOT (${endedEverywhere(everywhere)}) AS active FROM ${sessions} AS kept`
}

function logoutStatements ({ sessions, everywhere }: SessionNames) {
  return {
    // What another transaction has locked is not waited for.
    end: (serialNumbers: readonly string[], ender: number) => `UPDATE (
        SELECT serial_number FROM ${sessions} WHERE serial_number IN (${serialNumbers.join(', ')}) AND ended_by = 0
        ORDER BY serial_number LIMIT ${serialNumbers.length} FOR UPDATE SKIP LOCKED
      ) AS free STRAIGHT_JOIN ${sessions} AS kept FORCE INDEX (PRIMARY) ON kept.serial_number = free.serial_number
      SET kept.ended_by = ${literals([ender])}`,

    endedBy: (serialNumbers: readonly string[]) => `SELECT CAST(serial_number AS CHAR) AS serial_number, ended_by
      FROM ${sessions} WHERE serial_number IN (${serialNumbers.join(', ')})`,

    // It waits for a login that has not been committed yet, and ends it too.
    logOutSubject: ({ subject, except }: SubjectQuery) => withValues(`INSERT INTO ${everywhere} (subject, up_to, excepted)
      SELECT ?, MAX(kept.serial_number), ? FROM ${sessions} AS kept WHERE kept.subject = ?
      HAVING MAX(kept.serial_number) IS NOT NULL LOCK IN SHARE MODE
      ON DUPLICATE KEY UPDATE up_to = ${everywhere}.up_to`, subject, except ?? '', subject),

    endEach: ({ subject, except }: SubjectQuery, now: number, ender: number) => withValues(`UPDATE ${sessions} AS kept
      SET kept.ended_by = ? WHERE kept.subject = ? AND NOT (kept.id <=> ?) AND kept.ended_by = 0 AND kept.expires_at > ?
      AND NOT (${endedEverywhere(everywhere)})`, ender, subject, except, now)
  }
}

function pruneStatements ({ sessions, everywhere }: SessionNames) {
  return {
    // By the clock of the server, so that a node whose clock is ahead deletes nothing that others still need.
    due: (limit: number) => withValues(`SELECT CAST(serial_number AS CHAR) AS serial_number, subject FROM ${sessions}
      WHERE keep_until <= ${mysqlClock} ORDER BY keep_until LIMIT ? FOR UPDATE SKIP LOCKED`, limit),

    prune: (serialNumbers: readonly string[]) => `DELETE FROM ${sessions} WHERE serial_number IN (${serialNumbers.join(', ')})`,

    pruneEverywhere: (subjects: readonly string[]) => `DELETE FROM logout USING ${everywhere} AS logout
      WHERE logout.subject IN (${literals(subjects)}) AND NOT EXISTS (SELECT 1 FROM ${sessions} AS kept
        WHERE kept.subject = logout.subject AND kept.serial_number <= logout.up_to AND kept.id <> logout.excepted)`
  }
}
