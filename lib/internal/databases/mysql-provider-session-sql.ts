import { wholeGroup, type LoginRecord, type LogoutRecord } from '../records/provider-session.ts'
import { literals, mysqlClock as clock, withValues } from './mysql-literal.ts'
import { assertShort, quotedTable } from './sql-table.ts'

/** The names of what `mysqlProviderSessionIndex` keeps in the database, quoted. */
export interface ProviderSessionNames {
  readonly logins: string
  readonly cutoffs: string
}

/**
 * The names that are made from the name of the table.
 *
 * @throws {TypeError} for a wrong name; `caller` begins the message.
 */
export function providerSessionNames (table: string, caller: string): ProviderSessionNames {
  assertShort(table.slice(table.indexOf('.') + 1), caller)
  return { logins: quotedTable(table, caller, '`'), cutoffs: quotedTable(`${table}_cutoff`, caller, '`') }
}

/*
 * A login is written first, and reads the cutoffs afterwards; a logout writes its cutoffs first, and reads the logins
 * afterwards. So one of the two sees the other. Both read what is committed last, and wait for what is not committed yet.
 */

/** The statements that make the tables where they are missing. */
export function providerSessionTables ({ logins, cutoffs }: ProviderSessionNames): string[] {
  return [
    `CREATE TABLE IF NOT EXISTS ${logins} (
  id VARBINARY(64) NOT NULL PRIMARY KEY,
  subject_key VARBINARY(64) NOT NULL,
  sid_key VARBINARY(64) NOT NULL,
  session LONGBLOB NOT NULL,
  issued_at BIGINT NOT NULL,
  \`until\` BIGINT NOT NULL,
  KEY by_subject (subject_key),
  KEY by_sid (sid_key),
  KEY by_until (\`until\`)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`,
    `CREATE TABLE IF NOT EXISTS ${cutoffs} (
  group_key VARBINARY(64) NOT NULL,
  scope VARBINARY(64) NOT NULL,
  cutoff BIGINT NOT NULL,
  \`until\` BIGINT NOT NULL,
  PRIMARY KEY (group_key, scope),
  KEY by_until (\`until\`)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`
  ]
}

/** The statements of the index. */
export function providerSessionStatements ({ logins, cutoffs }: ProviderSessionNames) {
  const covered = ({ group, scopes }: LogoutRecord, key: string, index: string) => withValues(`(SELECT kept.session
      FROM ${cutoffs} AS logout FORCE INDEX (PRIMARY) STRAIGHT_JOIN ${logins} AS kept FORCE INDEX (${index}) ON kept.${key} = ?
      WHERE logout.group_key = ? AND logout.scope IN (${literals(scopes)}) AND (logout.scope = ? OR logout.scope = kept.sid_key)
      AND kept.issued_at <= logout.cutoff AND kept.\`until\` > ${clock} LOCK IN SHARE MODE)`, group, group, wholeGroup)
  const deleteDue = (table: string, key: readonly string[]) => (count: number) => `DELETE old FROM (
      SELECT ${key.join(', ')} FROM ${table} FORCE INDEX (by_until) WHERE \`until\` <= ${clock}
      ORDER BY \`until\` LIMIT ${count} FOR UPDATE SKIP LOCKED
    ) AS due STRAIGHT_JOIN ${table} AS old FORCE INDEX (PRIMARY) ON ${key.map(name => `old.${name} = due.${name}`).join(' AND ')}`

  return {
    remember: ({ id, subjectKey, sidKey, session, issuedAt, until }: LoginRecord) => withValues(
      `INSERT INTO ${logins} (id, subject_key, sid_key, session, issued_at, \`until\`) VALUES (?, ?, ?, ?, ?, ?)
      ON DUPLICATE KEY UPDATE \`until\` = GREATEST(\`until\`, ?)`, id, subjectKey, sidKey, session, issuedAt, until, until),

    isRevoked: ({ subjectKey, sidKey, issuedAt }: LoginRecord) => withValues(`SELECT 1 FROM ${cutoffs} FORCE INDEX (PRIMARY)
      WHERE ((group_key = ? AND scope = ?) OR (group_key = ? AND scope = ?) OR (group_key = ? AND scope = ?))
      AND cutoff >= ? AND \`until\` > ${clock} LOCK IN SHARE MODE`,
    subjectKey, wholeGroup, subjectKey, sidKey, sidKey, wholeGroup, issuedAt),

    join: ({ group, scopes, cutoff, until }: LogoutRecord) => `INSERT INTO ${cutoffs} (group_key, scope, cutoff, \`until\`)
      VALUES ${scopes.toSorted().map(scope => `(${literals([group, scope, cutoff, until])})`).join(', ')}
      ON DUPLICATE KEY UPDATE cutoff = IF(\`until\` > ${clock}, GREATEST(cutoff, ${literals([cutoff])}), ${literals([cutoff])}),
        \`until\` = GREATEST(\`until\`, ${literals([until])})`,

    covered: (logout: LogoutRecord) => `${covered(logout, 'subject_key', 'by_subject')} UNION ALL ${covered(logout, 'sid_key', 'by_sid')}`,

    prune: deleteDue(logins, ['id']),

    pruneCutoffs: deleteDue(cutoffs, ['group_key', 'scope'])
  }
}
