/**
 * Checks the name of a table, with or without its schema, and returns it in double quotes, or in those of another database.
 *
 * @throws {TypeError} for other characters than letters, digits and underscores; `caller` begins the message.
 */
export function quotedTable (name: string, caller: string, quote = '"'): string {
  if (typeof name !== 'string' || !/^[a-z_]\w{0,62}(\.[a-z_]\w{0,62})?$/i.test(name)) {
    throw new TypeError(`${caller}: option "table" must be a name of letters, digits and underscores, with a schema in front if needed`)
  }
  return name.split('.').map(part => `${quote}${part}${quote}`).join('.')
}

/**
 * Checks that names can be made from the name of a table, which PostgreSQL would cut at 63 characters.
 *
 * @throws {TypeError} for more than 40 characters; `caller` begins the message.
 */
export function assertShort (name: string, caller: string): void {
  if (name.length > 40) throw new TypeError(`${caller}: option "table" must have at most 40 characters, without its schema`)
}

/**
 * The rows of a statement, if they are objects.
 *
 * @throws {TypeError} for rows as arrays, which some clients give on request: every column would be `undefined`.
 */
export function objectRows (rows: readonly unknown[]): Array<Record<string, unknown>> {
  if (Array.isArray(rows[0])) throw new TypeError('the database client returns rows as arrays: have it return objects')
  return rows as Array<Record<string, unknown>>
}

const undefinedTable = '42P01'
const undefinedFunction = '42883'
const undefinedSchema = '3F000'
/** Of MySQL and MariaDB. */
const missing = ['ER_NO_SUCH_TABLE', 'ER_BAD_DB_ERROR']
const missingColumn = 'ER_BAD_FIELD_ERROR'

/** The error of a statement. For a table or function that is missing, one that says what to do. */
export function missingTable (error: unknown, table: string): unknown {
  const { code, message } = error instanceof Error ? error as Error & { code?: unknown } : { message: '' }
  if (code === undefinedTable || code === undefinedSchema || missing.includes(String(code)) || message.startsWith('no such table')) {
    return new Error(`table ${table} is missing: run migrate()`, { cause: error })
  }
  if (code === undefinedFunction || code === missingColumn) {
    return new Error(`table ${table} is missing, or another version made it: run migrate()`, { cause: error })
  }
  return error
}
