import { randomInt } from 'node:crypto'
import type { Promised } from '../awaitable.ts'
import { postgresStatements, underLock, type PostgresClient } from '../internal/databases/postgres.ts'
import { isSessionId, isSubject, sessionRecord } from '../internal/records/session.ts'
import { firstSession, pageStart, sessionColumns, sessionOfRow } from '../internal/records/session-row.ts'
import type { SessionStore } from '../session-store.ts'
import { quotedTable } from '../internal/databases/sql-table.ts'
import { tokenDigest } from '../token-digest.ts'
import { waitingCalls } from '../internal/databases/call-batch.ts'

/** Where in the database {@link postgresSessionStore} keeps its sessions. */
export interface PostgresSessionStoreOptions {
  /** The table, with its schema in front if need be: 40 characters at most. A second one, `<table>_subject`, stands beside it. @default 'logout_session' */
  readonly table?: string | undefined
}

/** {@link postgresSessionStore} */
export interface PostgresSessionStore extends Promised<SessionStore> {
  /** Makes the tables where they are not there. Safe to run twice, and from two nodes at once. */
  migrate (): Promise<void>
  /** Deletes what is past its `keepUntil`, a thousand rows with each statement. Resolves the number of sessions deleted. */
  prune (): Promise<number>
}

const batch = 1000

/**
 * Keeps sessions in two tables of PostgreSQL 13 or newer. Every call is one statement, which logouts
 * of the same turn of the event loop share, right at the isolation level `READ COMMITTED`, which is PostgreSQL's default.
 * A logout that was answered is as durable as a commit is on that server.
 *
 * A login that commits while `logOutSubject` waits for it is ended too, but is not in the `count`.
 *
 * @param client A Pool of `pg`, or anything with its `query`. It is never closed.
 * @throws {TypeError} when the client has no `query`, or the table's name has other characters than letters, digits and underscores.
 */
export function postgresSessionStore (client: PostgresClient, options: PostgresSessionStoreOptions = {}): PostgresSessionStore {
  const { table = 'logout_session' } = options
  const run = postgresStatements(client, table, 'postgresSessionStore')
  const sql = statements(namesOf(table, 'postgresSessionStore'))

  const logOutTogether = waitingCalls(async (digests: readonly string[]) => {
    const different = [...new Set(digests)]
    // As one of many, a lone logout would take longer; a named statement is planned once only for one.
    const rows = different.length === 1
      ? await run(sql.logOut, different[0], Date.now())
      : await run(sql.logOutMany, different, Date.now())
    const unseen = new Map(rows.map(row => [row['digest'], sessionOfRow(row)]))
    return digests.map((digest) => {
      const session = unseen.get(digest)
      if (session !== undefined) unseen.set(digest, { ...session, status: 'logged_out' })
      return session
    })
  })

  async function deleted (statement: string, sum = 0): Promise<number> {
    const { length } = await run(statement, Date.now(), batch)
    return length < batch ? sum + length : deleted(statement, sum + length)
  }

  return {
    async create (token, session) {
      const { id, subject, createdAt, expiresAt, keepUntil, details } = sessionRecord(token, session)
      await run(sql.create, tokenDigest(token), id, subject, createdAt, expiresAt, keepUntil, details, Date.now(), randomInt(2 ** 47))
    },

    async find (token) {
      return firstSession(await run(sql.find, tokenDigest(token), Date.now()))
    },

    async logOut (token) {
      return logOutTogether(tokenDigest(token))
    },

    async logOutById ({ id, subject }) {
      if (!isSessionId(id) || !(subject === undefined || isSubject(subject))) return undefined
      return firstSession(await run(sql.logOutById, id, Date.now(), subject ?? null))
    },

    async logOutSubject ({ subject, except, count }) {
      if (!isSubject(subject)) return count === true ? 0 : undefined
      const spared = isSessionId(except) ? except : null
      if (count === true) return Number((await run(sql.countSubject, subject, spared, Date.now()))[0]?.['ended'])
      await run(sql.logOutSubject, subject, spared)
      return undefined
    },

    async list (page) {
      if (!isSubject(page.subject)) return []
      const rows = await run(sql.list, page.subject, Date.now(), isSessionId(page.except) ? page.except : null, ...pageStart(page), page.limit)
      return rows.map(sessionOfRow)
    },

    async migrate () {
      await run(postgresSessionTables(table))
    },

    async prune () {
      const sessions = await deleted(sql.prune)
      await deleted(sql.pruneSubjects)
      return sessions
    }
  }
}

/**
 * What `migrate()` runs, for hosts with migrations of their own.
 *
 * @throws {TypeError} for a table's name with other characters than letters, digits and underscores, or more than 40.
 */
export function postgresSessionTables (table = 'logout_session'): string {
  const { sessions, subjects, index } = namesOf(table, 'postgresSessionTables')
  return underLock(`CREATE TABLE IF NOT EXISTS ${subjects} (
  subject text COLLATE "C" PRIMARY KEY,
  epoch bigint NOT NULL,
  keep_until bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS ${sessions} (
  digest text COLLATE "C" PRIMARY KEY,
  id text COLLATE "C" NOT NULL UNIQUE,
  subject text COLLATE "C" NOT NULL,
  epoch bigint NOT NULL,
  logged_out boolean NOT NULL DEFAULT false,
  created_at bigint NOT NULL,
  expires_at bigint NOT NULL,
  keep_until bigint NOT NULL,
  details text NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX IF NOT EXISTS ${index('list')} ON ${sessions} (subject, epoch, created_at, id);
CREATE INDEX IF NOT EXISTS ${index('keep')} ON ${sessions} (keep_until);
CREATE INDEX IF NOT EXISTS ${index('subject_keep')} ON ${subjects} (keep_until);`)
}

interface Names {
  readonly sessions: string
  readonly subjects: string
  readonly index: (name: string) => string
}

function namesOf (table: string, caller: string): Names {
  const sessions = quotedTable(table, caller)
  const name = table.slice(table.indexOf('.') + 1)
  if (name.length > 40) throw new TypeError(`${caller}: table must have at most 40 characters, so that the names made from it are whole`)
  return { sessions, subjects: quotedTable(`${table}_subject`, caller), index: purpose => `"${name}_${purpose}_index"` }
}

/*
 * A session is active while it has the epoch of its subject. Whoever changes either locks the subject first, and sees
 * the session as it is behind that lock, not as it was when the statement began. Epochs begin at random: one that was pruned never comes back.
 */
function statements ({ sessions, subjects }: Names) {
  // Locks in the order of the clauses, and of the digests: two of these never wait for each other.
  const logOut = (condition: string) => `WITH before AS MATERIALIZED (
      SELECT kept.digest, kept.logged_out, ${sessionColumns}, NOT kept.logged_out AND kept.epoch = owner.epoch AS active
      FROM ${sessions} AS kept JOIN ${subjects} AS owner ON owner.subject = kept.subject
      WHERE ${condition} AND kept.keep_until > $2 ORDER BY kept.digest FOR SHARE OF owner FOR UPDATE OF kept
    ), written AS (
      UPDATE ${sessions} SET logged_out = true WHERE digest = ANY (ARRAY (SELECT digest FROM before WHERE NOT logged_out))
    )
    SELECT * FROM before`

  const endEpoch = `WITH ended AS MATERIALIZED (
      UPDATE ${subjects} SET epoch = epoch + 1 WHERE subject = $1 RETURNING epoch - 1 AS epoch
    ), spared AS (
      UPDATE ${sessions} AS now SET epoch = CASE now.epoch WHEN ended.epoch THEN ended.epoch + 1 ELSE now.epoch END
      FROM ended WHERE now.id = $2::text AND now.subject = $1
    )`

  return {
    create: `WITH owner AS MATERIALIZED (
        INSERT INTO ${subjects} AS known (subject, epoch, keep_until) VALUES ($3, $9, $6)
        ON CONFLICT (subject) DO UPDATE SET keep_until = greatest(known.keep_until, excluded.keep_until)
        RETURNING epoch
      ), forgotten AS (
        DELETE FROM ${sessions} AS kept USING owner WHERE (kept.digest = $1 OR kept.id = $2) AND kept.keep_until <= $8 RETURNING 1
      )
      INSERT INTO ${sessions} (digest, id, subject, epoch, created_at, expires_at, keep_until, details)
      SELECT $1, $2, $3, owner.epoch, $4, $5, $6, $7 FROM owner WHERE (SELECT count(*) FROM forgotten) >= 0`,

    find: `SELECT ${sessionColumns}, NOT kept.logged_out AND kept.epoch = owner.epoch AS active
      FROM ${sessions} AS kept JOIN ${subjects} AS owner ON owner.subject = kept.subject
      WHERE kept.digest = $1 AND kept.keep_until > $2`,

    logOut: logOut('kept.digest = $1'),

    logOutMany: logOut('kept.digest = ANY ($1)'),

    logOutById: logOut('kept.id = $1 AND kept.subject = coalesce($3, kept.subject)'),

    logOutSubject: `${endEpoch} SELECT FROM ended`,

    countSubject: `${endEpoch}, behind AS MATERIALIZED (
        SELECT kept.epoch FROM ${sessions} AS kept CROSS JOIN ended
        WHERE kept.subject = $1 AND kept.id IS DISTINCT FROM $2 AND NOT kept.logged_out AND kept.expires_at > $3
        FOR NO KEY UPDATE OF kept
      )
      SELECT count(*) AS ended FROM behind JOIN ended ON behind.epoch = ended.epoch`,

    list: `SELECT ${sessionColumns}, true AS active
      FROM ${sessions} AS kept JOIN ${subjects} AS owner ON owner.subject = kept.subject AND owner.epoch = kept.epoch
      WHERE kept.subject = $1 AND NOT kept.logged_out AND kept.expires_at > $2 AND kept.id IS DISTINCT FROM $3
      AND (kept.created_at, kept.id) < ($4, $5)
      ORDER BY kept.created_at DESC, kept.id DESC LIMIT $6`,

    prune: `DELETE FROM ${sessions} WHERE digest IN (
        SELECT digest FROM ${sessions} WHERE keep_until <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED
      ) RETURNING 1`,

    pruneSubjects: `DELETE FROM ${subjects} WHERE subject IN (
        SELECT subject FROM ${subjects} WHERE keep_until <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED
      ) RETURNING 1`
  }
}
