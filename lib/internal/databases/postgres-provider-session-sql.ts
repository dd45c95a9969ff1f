import { underLock } from './postgres.ts'
import { assertShort, quotedTable } from './sql-table.ts'

/** The names of what `postgresProviderSessionIndex` keeps in the database, quoted. */
export interface ProviderSessionNames {
  readonly logins: string
  readonly cutoffs: string
  readonly bind: string
  readonly logOut: string
  readonly index: (purpose: string) => string
}

/**
 * The names that are made from the name of the table.
 *
 * @throws {TypeError} for a wrong name; `caller` begins the message.
 */
export function providerSessionNames (table: string, caller: string): ProviderSessionNames {
  const logins = quotedTable(table, caller)
  const name = table.slice(table.indexOf('.') + 1)
  assertShort(name, caller)
  return {
    logins,
    cutoffs: quotedTable(`${table}_cutoff`, caller),
    bind: quotedTable(`${table}_bind`, caller),
    logOut: quotedTable(`${table}_log_out`, caller),
    index: purpose => `"${name}_${purpose}_index"`
  }
}

/** The statement that creates the tables and the functions if they do not exist. */
export function providerSessionTables (names: ProviderSessionNames): string {
  const { logins, cutoffs, index } = names
  return underLock(`CREATE TABLE IF NOT EXISTS ${logins} (
  id text COLLATE "C" PRIMARY KEY,
  subject_key text COLLATE "C" NOT NULL,
  sid_key text COLLATE "C" NOT NULL,
  session text NOT NULL,
  issued_at bigint NOT NULL,
  until bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS ${cutoffs} (
  group_key text COLLATE "C" NOT NULL,
  scope text COLLATE "C" NOT NULL,
  cutoff bigint NOT NULL,
  until bigint NOT NULL,
  PRIMARY KEY (group_key, scope)
);
CREATE INDEX IF NOT EXISTS ${index('subject')} ON ${logins} (subject_key);
CREATE INDEX IF NOT EXISTS ${index('sid')} ON ${logins} (sid_key);
CREATE INDEX IF NOT EXISTS ${index('until')} ON ${logins} (until);
CREATE INDEX IF NOT EXISTS ${index('cutoff_until')} ON ${cutoffs} (until);
${bindFunction(names)}
${logOutFunction(names)}`)
}

/** The server's clock, in whole epoch milliseconds. */
const clock = 'floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint'

/*
 * Two calls about one group run one after the other: each takes the advisory lock of its groups, and is `locked` when another
 * transaction has it. Each also writes the row of the whole group. At READ COMMITTED that changes nothing. At the other
 * levels a transaction that began before another one changed the group fails by it, and is repeated.
 */

function lock (group: string, { logins }: ProviderSessionNames): string {
  return `pg_try_advisory_xact_lock(hashtextextended(${group}, '${logins}'::regclass::oid::bigint))`
}

/** Writes the rows of whole groups. One without a logout has the cutoff -1, and lasts as long as its logins. */
function touch (groups: string, until: string, { cutoffs }: ProviderSessionNames): string {
  return `INSERT INTO ${cutoffs} AS old (group_key, scope, cutoff, until) SELECT touched, '*', -1, ${until} FROM ${groups} AS touched
        ON CONFLICT (group_key, scope) DO UPDATE SET
          cutoff = CASE WHEN old.until > present THEN old.cutoff ELSE -1 END,
          until = CASE WHEN old.until > present AND old.cutoff >= 0 THEN old.until ELSE greatest(old.until, excluded.until) END`
}

/** How the body of both functions begins. */
const opening = `#variable_conflict use_column
DECLARE
  present CONSTANT bigint := ${clock};
  call record;
BEGIN
  nth := 0;`

/** A function, because its statements are planned once for each connection: planning takes longer than running them. */
function bindFunction (names: ProviderSessionNames): string {
  const { logins, cutoffs, bind } = names
  return `CREATE OR REPLACE FUNCTION ${bind} (calls json)
RETURNS TABLE (nth integer, locked boolean, verdict text)
LANGUAGE plpgsql SET enable_seqscan = off AS $function$
${opening}
  FOR call IN SELECT * FROM json_to_recordset(calls)
    AS given (id text, "subjectKey" text, "sidKey" text, session text, "issuedAt" bigint, until bigint)
  LOOP
    nth := nth + 1;
    verdict := 'live';
    locked := NOT (${lock('call."subjectKey"', names)} AND (call."sidKey" = '' OR ${lock('call."sidKey"', names)}));
    IF NOT locked THEN
      ${touch("unnest(array_remove(ARRAY[call.\"subjectKey\", call.\"sidKey\"], ''))", 'call.until', names)};
      IF call.until > present THEN
        INSERT INTO ${logins} AS old (id, subject_key, sid_key, session, issued_at, until)
        VALUES (call.id, call."subjectKey", call."sidKey", call.session, call."issuedAt", call.until)
        ON CONFLICT (id) DO UPDATE SET until = greatest(old.until, excluded.until);
      END IF;
      IF EXISTS (
        SELECT FROM ${cutoffs} WHERE cutoff >= call."issuedAt" AND until > present
        AND (group_key, scope) IN ((call."subjectKey", '*'), (call."subjectKey", call."sidKey"), (call."sidKey", '*'))
      ) THEN verdict := 'revoked'; END IF;
    END IF;
    RETURN NEXT;
  END LOOP;
END $function$;`
}

/** Resolves for each call the sessions that it covers, as a list in JSON. */
function logOutFunction (names: ProviderSessionNames): string {
  const { logins, cutoffs, logOut } = names
  return `CREATE OR REPLACE FUNCTION ${logOut} (calls json)
RETURNS TABLE (nth integer, locked boolean, sessions text)
LANGUAGE plpgsql SET enable_seqscan = off AS $function$
${opening}
  FOR call IN SELECT * FROM json_to_recordset(calls) AS given ("group" text, scopes json, cutoff bigint, until bigint) LOOP
    nth := nth + 1;
    sessions := NULL;
    locked := NOT ${lock('call."group"', names)};
    IF NOT locked THEN
      ${touch('unnest(ARRAY[call."group"])', 'call.until', names)};
      WITH joined AS (
        INSERT INTO ${cutoffs} AS old (group_key, scope, cutoff, until)
        SELECT call."group", scope, call.cutoff, call.until FROM json_array_elements_text(call.scopes) AS given (scope)
        ON CONFLICT (group_key, scope) DO UPDATE SET
          cutoff = CASE WHEN old.until > present THEN greatest(old.cutoff, excluded.cutoff) ELSE excluded.cutoff END,
          until = CASE WHEN old.cutoff < 0 THEN excluded.until ELSE greatest(old.until, excluded.until) END
        RETURNING scope, cutoff
      )
      SELECT coalesce(json_agg(kept.session)::text, '[]') INTO sessions
      FROM ${logins} AS kept JOIN joined ON joined.scope IN ('*', kept.sid_key)
      WHERE (kept.subject_key = call."group" OR kept.sid_key = call."group")
      AND kept.issued_at <= joined.cutoff AND kept.until > present;
    END IF;
    RETURN NEXT;
  END LOOP;
END $function$;`
}

/** The statements of the index. Each is one round trip. */
export function providerSessionStatements ({ logins, cutoffs, bind, logOut }: ProviderSessionNames) {
  const deleteDue = (table: string, key: string) => `DELETE FROM ${table} WHERE (${key}) IN (
      SELECT ${key} FROM ${table} WHERE until <= ${clock} LIMIT $1 FOR UPDATE SKIP LOCKED
    ) RETURNING 1`
  return {
    bind: `SELECT nth, locked, verdict FROM ${bind}($1)`,
    logOut: `SELECT nth, locked, sessions FROM ${logOut}($1)`,
    prune: deleteDue(logins, 'id'),
    pruneCutoffs: deleteDue(cutoffs, 'group_key, scope')
  }
}
