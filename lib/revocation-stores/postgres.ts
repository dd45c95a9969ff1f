import type { Promised } from '../awaitable.ts'
import { assertMarks, markId } from '../internal/marks/id.ts'
import { questionOf, rowsOfMarks } from '../internal/marks/row.ts'
import { postgresStatements, underLock, type PostgresClient } from '../internal/databases/postgres.ts'
import type { RevocationStore } from '../revocation-store.ts'
import { quotedTable } from '../internal/databases/sql-table.ts'

/** Where in the database {@link postgresRevocationStore} keeps its marks. */
export interface PostgresRevocationStoreOptions {
  /** The table, with its schema in front if need be. @default 'logout_revocation' */
  readonly table?: string | undefined
}

/** {@link postgresRevocationStore} */
export interface PostgresRevocationStore extends Promised<RevocationStore> {
  /** Makes the table where it is not there. Safe to run twice, and from two nodes at once. */
  migrate (): Promise<void>
}

/**
 * Keeps marks in a table of PostgreSQL 13 or newer. Every call is one statement. A logout that was answered is as durable
 * as a commit is on that server. Each `revoke` also forgets some of what ended a minute ago or more, and wakes the
 * replicas that follow with `postgresRevocationFeed`.
 *
 * @param client A Pool of `pg`, or anything with its `query`. It is never closed.
 * @throws {TypeError} when the client has no `query`, or the table's name has other characters than letters, digits and underscores.
 */
export function postgresRevocationStore (client: PostgresClient, options: PostgresRevocationStoreOptions = {}): PostgresRevocationStore {
  const { table = 'logout_revocation' } = options
  const run = postgresStatements(client, table, 'postgresRevocationStore')
  const sql = statements(quotedTable(table, 'postgresRevocationStore'))

  return {
    async revoke (...marks) {
      assertMarks(marks)
      const now = Date.now()
      const rows = rowsOfMarks(marks, now)
      if (rows.length === 0) return false
      const [answer] = await run(sql.revoke, JSON.stringify(rows), now - 60_000, revocationChannel(table), now)
      return answer?.['news'] === true
    },

    async check (credential) {
      const { ids, issuer, tenant, session, issuedAt } = questionOf(credential)
      return (await run(sql.check, Date.now(), ids, issuedAt, session, issuer, tenant)).length === 0 ? 'live' : 'revoked'
    },

    async claimOnce (key, until) {
      return (await run(sql.claim, `c${markId(key)}`, until, Date.now())).length === 1
    },

    async migrate () {
      await run(postgresRevocationTable(table))
    }
  }
}

/** The channel on which a store tells that there are new marks in its table. */
export function revocationChannel (table: string): string {
  return `revocations:${table}`.slice(0, 63)
}

/**
 * What `migrate()` runs, for hosts with migrations of their own.
 *
 * @throws {TypeError} for a table's name with other characters than letters, digits and underscores.
 */
export function postgresRevocationTable (table = 'logout_revocation'): string {
  const caller = 'postgresRevocationTable'
  const [quoted, index] = [quotedTable(table, caller), quotedTable(table.replace(/^.*\./, ''), caller).slice(1, -1)]
  return underLock(`CREATE TABLE IF NOT EXISTS ${quoted} (
  id text COLLATE "C" NOT NULL,
  issuer text COLLATE "C" NOT NULL,
  tenant text COLLATE "C" NOT NULL,
  "except" text COLLATE "C" NOT NULL,
  cutoff bigint NOT NULL,
  until bigint NOT NULL,
  position bigserial NOT NULL,
  added bigint NOT NULL,
  PRIMARY KEY (id, issuer, tenant, "except")
);
CREATE INDEX IF NOT EXISTS "${index.slice(0, 53)}_until" ON ${quoted} (until);
CREATE INDEX IF NOT EXISTS "${index.slice(0, 53)}_position" ON ${quoted} (position, id, issuer, tenant, "except");`)
}

/** `added` is the position at which a mark last revoked something that it had not revoked before. */
function statements (table: string) {
  const lock = `hashtextextended('fastify-logout ${table}', 0)`
  const key = 'id, issuer, tenant, "except"'
  return {
    // Positions are given under a lock that lasts until the commit: who has read a position has missed none before it.
    revoke: `WITH new AS MATERIALIZED (
        SELECT * FROM json_to_recordset($1) AS r(id text, issuer text, tenant text, "except" text, cutoff bigint, until bigint)
      ), locked AS MATERIALIZED (
        SELECT pg_advisory_xact_lock(${lock})
      ), next AS MATERIALIZED (
        SELECT nextval(pg_get_serial_sequence('${table}', 'position')) AS position FROM locked
      ), swept AS (
        DELETE FROM ${table} WHERE (${key}) IN (
          SELECT ${key} FROM next, ${table} AS old WHERE until < $2 AND id NOT IN (SELECT id FROM new)
          ORDER BY until LIMIT 100 FOR UPDATE OF old SKIP LOCKED
        )
      ), written AS (
        INSERT INTO ${table} AS old (${key}, cutoff, until, position, added)
        SELECT ${key}, cutoff, until, next.position, next.position FROM new, next ORDER BY ${key}
        ON CONFLICT (${key}) DO UPDATE SET
          cutoff = greatest(old.cutoff, excluded.cutoff), until = greatest(old.until, excluded.until), position = excluded.position,
          added = CASE WHEN old.until <= $4 OR old.cutoff < excluded.cutoff THEN excluded.position ELSE old.added END
        RETURNING ${key}, added = position AS added
      )
      SELECT pg_notify($3, ''), EXISTS (
        SELECT 1 FROM written JOIN new USING (${key}) WHERE added AND (
          SELECT count(*) + count(*) FILTER (WHERE known."except" = '') FROM ${table} AS known
          WHERE known.id = new.id AND known.issuer = new.issuer AND known.tenant = new.tenant AND known."except" <> new."except"
          AND known.until > $4 AND known.cutoff >= new.cutoff
        ) < 2
      ) AS news`,
    check: `SELECT 1 FROM ${table} WHERE until > $1 AND id = ANY($2) AND cutoff >= $3 AND ("except" = '' OR "except" <> $4)
      AND (issuer = '' OR $5 = '' OR issuer = $5) AND (tenant = '' OR $6 = '' OR tenant = $6) LIMIT 1`,
    claim: `INSERT INTO ${table} AS old (${key}, cutoff, until, position, added) VALUES ($1, '', '', '', 0, $2, -1, -1)
      ON CONFLICT (${key}) DO UPDATE SET until = excluded.until WHERE old.until <= $3 RETURNING id`
  }
}
