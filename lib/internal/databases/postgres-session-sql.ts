import { sessionColumns } from '../records/session-row.ts'
import { underLock } from './postgres.ts'
import { assertShort, quotedTable } from './sql-table.ts'

/** The names of what `postgresSessionStore` keeps in the database, quoted. */
export interface SessionNames {
  readonly sessions: string
  readonly subjects: string
  readonly logOut: string
  readonly index: (purpose: string) => string
}

/**
 * The names that are made from the name of the table.
 *
 * @throws {TypeError} for a wrong name; `caller` begins the message.
 */
export function sessionNames (table: string, caller: string): SessionNames {
  const sessions = quotedTable(table, caller)
  const name = table.slice(table.indexOf('.') + 1)
  assertShort(name, caller)
  return {
    sessions,
    subjects: quotedTable(`${table}_subject`, caller),
    logOut: quotedTable(`${table}_log_out`, caller),
    index: purpose => `"${name}_${purpose}_index"`
  }
}

/*
 * A session is active while it has the epoch of its subject. Epochs begin at random: one that was pruned never comes back.
 *
 * A logout writes the session first and reads the epoch afterwards; a logout of the subject writes the epoch first and
 * reads the sessions afterwards. So one of the two sees the other, and a session is seen active once.
 */

/** The statement that creates the tables and the function if they do not exist. */
export function sessionTables (names: SessionNames): string {
  const { sessions, subjects, index } = names
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
CREATE INDEX IF NOT EXISTS ${index('subject_keep')} ON ${subjects} (keep_until);
${logOutFunction(names)}`)
}

/**
 * A function, because its statements are planned once for each connection: planning takes longer than running them.
 *
 * Each statement in it sees what was committed before it began, but only at `READ COMMITTED`. At the other levels the
 * subject is locked too, which fails and is repeated when another transaction changed it meanwhile.
 */
function logOutFunction ({ sessions, subjects, logOut }: SessionNames): string {
  const variables = sessionColumns.replaceAll('kept.', '')
  const freeSession = (join: string, lock: string) => `SELECT free.digest FROM ${sessions} AS free ${join}
        WHERE free.digest = digests[nth] AND free.keep_until > present AND NOT free.logged_out
        FOR NO KEY UPDATE OF free SKIP LOCKED ${lock}`
  const end = (free: string) => `UPDATE ${sessions} AS kept SET logged_out = true WHERE kept.digest = (
        ${free})
      RETURNING ${sessionColumns}, kept.subject, kept.epoch INTO ${variables}, its_subject, its_epoch;`

  return `CREATE OR REPLACE FUNCTION ${logOut} (digests text[], present bigint)
RETURNS TABLE (
  nth integer, locked boolean, active boolean,
  id text, subject text, created_at bigint, expires_at bigint, keep_until bigint, details text
)
LANGUAGE plpgsql AS $function$
#variable_conflict use_column
DECLARE
  reads_committed CONSTANT boolean := current_setting('transaction_isolation') = 'read committed';
  its_subject text;
  its_epoch bigint;
BEGIN
  FOR counter IN 1 .. cardinality(digests) LOOP
    nth := counter;
    IF reads_committed THEN
      ${end(freeSession('', ''))}
    ELSE
      ${end(freeSession(`JOIN ${subjects} AS owner ON owner.subject = free.subject`, 'FOR SHARE OF owner SKIP LOCKED'))}
    END IF;
    IF FOUND THEN
      locked := false;
      active := its_epoch = (SELECT owner.epoch FROM ${subjects} AS owner WHERE owner.subject = its_subject);
      CONTINUE WHEN active IS NULL;
    ELSE
      SELECT NOT kept.logged_out, ${sessionColumns} INTO locked, ${variables}
        FROM ${sessions} AS kept WHERE kept.digest = digests[nth] AND kept.keep_until > present;
      CONTINUE WHEN NOT FOUND;
      active := false;
    END IF;
    RETURN NEXT;
  END LOOP;
END $function$;`
}

/** The statements of the store. Each is one round trip. */
export function sessionStatements (names: SessionNames) {
  return { ...loginStatements(names), ...logoutStatements(names), ...pruneStatements(names) }
}

function loginStatements ({ sessions, subjects }: SessionNames) {
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

    list: `SELECT ${sessionColumns}, true AS active
      FROM ${sessions} AS kept JOIN ${subjects} AS owner ON owner.subject = kept.subject AND owner.epoch = kept.epoch
      WHERE kept.subject = $1 AND NOT kept.logged_out AND kept.expires_at > $2 AND kept.id IS DISTINCT FROM $3
      AND (kept.created_at, kept.id) < ($4, $5)
      ORDER BY kept.created_at DESC, kept.id DESC LIMIT $6`
  }
}

function logoutStatements ({ sessions, subjects, logOut }: SessionNames) {
  const endEpoch = `WITH ended AS MATERIALIZED (
      UPDATE ${subjects} SET epoch = epoch + 1 WHERE subject = $1 RETURNING epoch - 1 AS epoch
    ), excepted AS (
      UPDATE ${sessions} AS now SET epoch = CASE now.epoch WHEN ended.epoch THEN ended.epoch + 1 ELSE now.epoch END
      FROM ended WHERE now.id = $2::text AND now.subject = $1
    )`

  return {
    logOut: `SELECT * FROM ${logOut}($1, $2)`,

    logOutById: `SELECT * FROM ${logOut}(ARRAY(SELECT digest FROM ${sessions} WHERE id = $1 AND subject = coalesce($3, subject)), $2)`,

    logOutSubject: `${endEpoch} SELECT FROM ended`,

    countSubject: `${endEpoch}, behind AS MATERIALIZED (
        SELECT kept.epoch FROM ${sessions} AS kept CROSS JOIN ended
        WHERE kept.subject = $1 AND kept.id IS DISTINCT FROM $2 AND NOT kept.logged_out AND kept.expires_at > $3
        FOR NO KEY UPDATE OF kept
      )
      SELECT count(*) AS ended FROM behind JOIN ended ON behind.epoch = ended.epoch`
  }
}

/** By the clock of the server, so that a node whose clock is ahead deletes nothing that others still need. */
function pruneStatements ({ sessions, subjects }: SessionNames) {
  const isDue = 'keep_until <= (extract(epoch FROM now()) * 1000)::bigint'
  return {
    prune: `DELETE FROM ${sessions} WHERE digest IN (
        SELECT digest FROM ${sessions} WHERE ${isDue} LIMIT $1 FOR UPDATE SKIP LOCKED
      ) RETURNING 1`,

    pruneSubjects: `DELETE FROM ${subjects} WHERE subject IN (
        SELECT subject FROM ${subjects} WHERE ${isDue} LIMIT $1 FOR UPDATE SKIP LOCKED
      ) RETURNING 1`
  }
}
