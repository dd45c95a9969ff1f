import { underLock } from './postgres.ts'
import { quotedTable } from './sql-table.ts'

/** The names of what `postgresRevocationStore` keeps in the database, quoted. */
export interface RevocationNames {
  readonly table: string
  readonly revoke: string
  readonly index: (purpose: string) => string
}

/**
 * The names that are made from the name of the table.
 *
 * @throws {TypeError} for a wrong name; `caller` begins the message.
 */
export function revocationNames (table: string, caller: string): RevocationNames {
  const quoted = quotedTable(table, caller)
  const name = table.slice(table.indexOf('.') + 1)
  if (name.length > 40) {
    throw new TypeError(`${caller}: option "table" must have at most 40 characters, so that Postgres does not cut the names made from it`)
  }
  return { table: quoted, revoke: quotedTable(`${table}_revoke`, caller), index: purpose => `"${name}_${purpose}_index"` }
}

/** How many marks one statement makes at most. Each takes a lock, and a server has room for 64 locks of each connection. */
export const marksOfOneStatement = 50

/** The server's clock, in whole epoch milliseconds. */
const clock = 'floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint'

const key = 'id, issuer, tenant, "except"'
const columns = `${key}, cutoff, until`

/** Before every transaction: stands in rows that are not marks, which nobody follows. */
const notFollowed = '\'0\'::xid8'

/** The channel on which new marks are sent. Tables of one name in two schemas have one each. */
function channel (table: string): string {
  return `'fastify_logout_' || '${table}'::regclass::oid`
}

/**
 * What makes the table and the function where they are missing.
 *
 * `written` is the transaction that wrote the row last. Whoever knows a snapshot of the server finds by it what was written
 * since, in whatever order transactions end: those that the snapshot names as running, and all that began later.
 */
export function revocationTable (names: RevocationNames): string {
  const { table, index } = names
  return underLock(`CREATE TABLE IF NOT EXISTS ${table} (
  id text COLLATE "C" NOT NULL,
  issuer text COLLATE "C" NOT NULL,
  tenant text COLLATE "C" NOT NULL,
  "except" text COLLATE "C" NOT NULL,
  cutoff bigint NOT NULL,
  until bigint NOT NULL,
  written xid8 NOT NULL,
  PRIMARY KEY (${key})
) WITH (fillfactor = 90);
CREATE INDEX IF NOT EXISTS ${index('until')} ON ${table} (until);
CREATE INDEX IF NOT EXISTS ${index('written')} ON ${table} (written, ${key});
${revokeFunction(names)}`)
}

/**
 * A function, because its statements are planned once for each connection: planning takes longer than running them.
 *
 * Each call is a list of marks. A call waits for no other transaction: when one holds an id of the call, for example
 * because it revoked it and is still open, nothing is done and the call is `locked`. A call that changes something is sent
 * to whoever listens, with its marks if there is room.
 */
function revokeFunction ({ table, revoke }: RevocationNames): string {
  return `CREATE OR REPLACE FUNCTION ${revoke} (calls json, sweep integer)
RETURNS TABLE (nth integer, locked boolean, news boolean)
LANGUAGE plpgsql SET enable_seqscan = off AS $function$
#variable_conflict use_column
DECLARE
  present CONSTANT bigint := ${clock};
  call json;
  mark record;
  known record;
  changed boolean;
BEGIN
  IF sweep > 0 THEN
    ${deleteEnded(table)}
  END IF;
  nth := 0;
  FOR call IN SELECT value FROM json_array_elements(calls) LOOP
    nth := nth + 1;
    news := false;
    changed := false;
    locked := NOT (
      SELECT bool_and(pg_try_advisory_xact_lock(hashtextextended(value ->> 'id', '${table}'::regclass::oid::bigint)))
      FROM json_array_elements(call)
    );
    IF NOT locked THEN
      FOR mark IN SELECT * FROM json_to_recordset(call)
        AS given (id text, issuer text, tenant text, "except" text, cutoff bigint, until bigint)
      LOOP
        ${addMark(table)}
        changed := true;
      END LOOP;
    END IF;
    IF changed THEN
      PERFORM pg_notify(${channel(table)}, CASE WHEN octet_length(call::text) < 7900 THEN call::text ELSE '' END);
    END IF;
    RETURN NEXT;
  END LOOP;
END
$function$;`
}

/** Deletes rows that ended a minute ago, but none that another transaction holds. */
function deleteEnded (table: string): string {
  return `DELETE FROM ${table} WHERE ctid = ANY (ARRAY (
      SELECT ctid FROM ${table} WHERE until < present - 60000 ORDER BY until LIMIT sweep FOR UPDATE SKIP LOCKED
    ));`
}

/** Adds the `mark` of the loop, unless it has ended or is contained in what is known; `news` becomes true if it revokes more. */
function addMark (table: string): string {
  return `CONTINUE WHEN mark.until <= present;
        SELECT count(*) FILTER (WHERE cutoff >= mark.cutoff) AS excepting,
          count(*) FILTER (WHERE cutoff >= mark.cutoff AND "except" IN ('', mark."except")) AS covering,
          coalesce(bool_or("except" = mark."except" AND cutoff >= mark.cutoff AND until >= mark.until), false) AS contained
        INTO known FROM ${table} WHERE id = mark.id AND issuer = mark.issuer AND tenant = mark.tenant AND until > present;
        news := news OR (known.covering = 0 AND known.excepting < 2);
        CONTINUE WHEN known.contained;
        INSERT INTO ${table} AS old (${columns}, written)
        VALUES (mark.id, mark.issuer, mark.tenant, mark."except", mark.cutoff, mark.until, pg_current_xact_id())
        ON CONFLICT (${key}) DO UPDATE SET
          cutoff = CASE WHEN old.until > present THEN greatest(old.cutoff, excluded.cutoff) ELSE excluded.cutoff END,
          until = greatest(old.until, excluded.until), written = excluded.written;`
}

/** The statements of the store. */
export function revocationStatements ({ table, revoke }: RevocationNames) {
  return {
    revoke: `SELECT nth, locked, news FROM ${revoke} ($1, $2)`,
    // What the function adds is not in the snapshot of the statement that calls it: this finds what was there before.
    revokeOnce: `SELECT nth, locked, news AND NOT EXISTS (
        SELECT 1 FROM json_to_record($3::json -> (nth - 1))
          AS asked (ids text[], issuer text, tenant text, session text, "issuedAt" bigint)
        JOIN ${table} AS known ON known.id = ANY (asked.ids)
        WHERE until > ${clock} AND cutoff >= "issuedAt" AND ("except" = '' OR "except" <> session)
          AND (known.issuer = '' OR asked.issuer = '' OR known.issuer = asked.issuer)
          AND (known.tenant = '' OR asked.tenant = '' OR known.tenant = asked.tenant)
      ) AS news FROM ${revoke} ($1, $2)`,
    check: `SELECT 1 FROM ${table} WHERE until > ${clock} AND id = ANY ($1) AND cutoff >= $2 AND ("except" = '' OR "except" <> $3)
      AND (issuer = '' OR $4 = '' OR issuer = $4) AND (tenant = '' OR $5 = '' OR tenant = $5) LIMIT 1`,
    claim: `INSERT INTO ${table} AS old (${columns}, written) VALUES ($1, '', '', '', 0, $2, ${notFollowed})
      ON CONFLICT (${key}) DO UPDATE SET until = excluded.until WHERE old.until <= ${clock} RETURNING id`
  }
}

/**
 * The statements of a feed. Marks come as one text, a list of lists in JSON: id, issuer, tenant, except, cutoff, until,
 * and where the order goes by it also written.
 */
export function revocationFeedStatements ({ table }: RevocationNames) {
  const from = '(id, issuer, tenant, "except") > ($1, $2, $3, $4)'
  // A scan of an index begins at its row comparison: another lower bound beside it would only be a filter.
  const behind = (first: number) => `(written, ${key}) > ($${first}::xid8, $${first + 1}, $${first + 2}, $${first + 3}, $${first + 4})`
  const order = `ORDER BY written, ${key} LIMIT $2`
  const listed = (lists: string, rows: string) =>
    `coalesce((SELECT json_agg(json_build_array(${lists})) FROM (${rows}) AS found)::text, '[]') AS marks`
  const live = `until > ${clock}`
  return {
    // Its own session always finds the index, also while the server knows nothing of the table's size.
    listen: `DO $listen$ BEGIN
      PERFORM set_config(name, value, false) FROM (VALUES
        ('enable_seqscan', 'off'), ('enable_sort', 'off'), ('enable_bitmapscan', 'off'), ('jit', 'off'),
        ('plan_cache_mode', 'force_generic_plan'), ('default_transaction_isolation', 'read committed')
      ) AS setting (name, value);
      EXECUTE format('LISTEN %I', ${channel(table)});
    END $listen$`,
    server: `SELECT system_identifier || '/' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) || '/'
      || '${table}'::regclass::oid AS server FROM pg_control_system()`,
    begin: 'SELECT pg_current_snapshot()::text AS snapshot',
    load: `SELECT ${clock}::text AS now, ${listed(columns, `
      SELECT ${columns} FROM ${table} WHERE ${from} AND ${live} ORDER BY ${key} LIMIT $5`)}`,
    heartbeat: `INSERT INTO ${table} AS old (${columns}, written) VALUES ($1, '', '', '', $2, ${clock} + 600000, ${notFollowed})
      ON CONFLICT (${key}) DO UPDATE SET cutoff = excluded.cutoff,
        until = CASE WHEN old.until < excluded.until - 300000 THEN excluded.until ELSE old.until END`,
    lastHeartbeat: `SELECT cutoff::text AS value FROM ${table} WHERE id = $1 AND issuer = '' AND tenant = '' AND "except" = ''`,
    readEnd: `SELECT pg_current_snapshot()::text AS snapshot, ${clock}::text AS now,
      (SELECT cutoff::text FROM ${table} WHERE id = $13 AND issuer = '' AND tenant = '' AND "except" = '') AS heartbeat,
      ${listed(`${columns}, written`, `
        (SELECT ${columns}, written FROM ${table} WHERE written = ANY ($1::xid8[]) AND ${behind(3)} AND ${live} ${order})
        UNION ALL
        (SELECT ${columns}, written FROM ${table} WHERE ${behind(8)} AND ${live} ${order})
        ${order}`)}`
  }
}
