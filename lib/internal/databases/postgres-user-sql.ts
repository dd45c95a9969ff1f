import { underLock } from './postgres.ts'
import { assertShort, quotedTable } from './sql-table.ts'

/** The names of what `postgresUserStatusStore` keeps in the database, quoted. */
export interface UserNames {
  readonly users: string
  readonly logOut: string
}

/**
 * The names that are made from the name of the table.
 *
 * @throws {TypeError} for a wrong name; `caller` begins the message.
 */
export function userNames (table: string, caller: string): UserNames {
  const users = quotedTable(table, caller)
  assertShort(table.slice(table.indexOf('.') + 1), caller)
  return { users, logOut: quotedTable(`${table}_log_out`, caller) }
}

/** The statement that creates the table and the function if they do not exist. */
export function userTable (names: UserNames): string {
  return underLock(`CREATE TABLE IF NOT EXISTS ${names.users} (
  tenant text COLLATE "C" NOT NULL,
  subject text COLLATE "C" NOT NULL,
  status text NOT NULL,
  version text NOT NULL DEFAULT gen_random_uuid(),
  logged_out_at bigint,
  last_seen_at bigint,
  request_id text,
  PRIMARY KEY (tenant, subject)
);
${logOutFunction(names)}`)
}

/**
 * A function, because its statements are planned once for each connection: planning takes longer than running them.
 * A user who is in the arrays more than once is logged out as often, in their order.
 */
function logOutFunction ({ users, logOut }: UserNames): string {
  return `CREATE OR REPLACE FUNCTION ${logOut} (tenants text[], subjects text[], versions text[], times bigint[], requests text[])
RETURNS TABLE (nth integer, locked boolean, status text, version text, logged_out_at bigint, last_seen_at bigint)
LANGUAGE plpgsql AS $function$
#variable_conflict use_column
BEGIN
  FOR counter IN 1 .. cardinality(tenants) LOOP
    nth := counter;
    locked := false;
    SELECT kept.status, kept.version, kept.logged_out_at, kept.last_seen_at INTO status, version, logged_out_at, last_seen_at
      FROM ${users} AS kept WHERE kept.tenant = tenants[nth] AND kept.subject = subjects[nth] FOR NO KEY UPDATE SKIP LOCKED;
    IF FOUND THEN
      UPDATE ${users} AS kept SET version = versions[nth], status = 'logged_out', request_id = requests[nth],
          logged_out_at = greatest(kept.logged_out_at, times[nth])
        WHERE kept.tenant = tenants[nth] AND kept.subject = subjects[nth] AND kept.status IN ('logged_in', 'logged_out');
    ELSE
      PERFORM FROM ${users} AS kept WHERE kept.tenant = tenants[nth] AND kept.subject = subjects[nth];
      CONTINUE WHEN NOT FOUND;
      locked := true;
    END IF;
    RETURN NEXT;
  END LOOP;
END $function$;`
}

/** The statements of the store. Each is one round trip. */
export function userStatements ({ users, logOut }: UserNames) {
  return {
    get: `SELECT status, version, logged_out_at, last_seen_at FROM ${users} WHERE tenant = $1 AND subject = $2`,

    create: `INSERT INTO ${users} (tenant, subject, version, status, logged_out_at, last_seen_at, request_id)
      VALUES ($1, $2, $3, $4::text, CASE WHEN $4 = 'logged_out' THEN $5::bigint END, CASE WHEN $4 = 'logged_in' THEN $5 END, $6)
      ON CONFLICT DO NOTHING RETURNING version`,

    update: `UPDATE ${users} SET version = $3, status = $4::text, request_id = $6,
      logged_out_at = CASE WHEN $4 = 'logged_out' THEN greatest(logged_out_at, $5::bigint) ELSE logged_out_at END,
      last_seen_at = CASE WHEN $4 = 'logged_in' THEN greatest(last_seen_at, $5) ELSE last_seen_at END
      WHERE tenant = $1 AND subject = $2 AND version = $7 AND status IN ('logged_in', 'logged_out') RETURNING version`,

    logOut: `SELECT * FROM ${logOut}($1, $2, $3, $4, $5)`,

    set: `INSERT INTO ${users} (tenant, subject, version, status) VALUES ($1, $2, $3, $4)
      ON CONFLICT (tenant, subject) DO UPDATE SET version = excluded.version, status = excluded.status`,

    remove: `DELETE FROM ${users} WHERE tenant = $1 AND subject = $2`
  }
}
