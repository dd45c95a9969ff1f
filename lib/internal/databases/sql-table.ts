/**
 * Checks the name of a table, with or without its schema, and answers with it quoted.
 *
 * @throws {TypeError} for anything but letters, digits and underscores; `caller` begins the message.
 */
export function quotedTable (name: string, caller: string): string {
  if (typeof name !== 'string' || !/^[a-z_]\w{0,62}(\.[a-z_]\w{0,62})?$/i.test(name)) {
    throw new TypeError(`${caller}: table must be a name of letters, digits and underscores, with a schema in front if need be`)
  }
  return name.split('.').map(part => `"${part}"`).join('.')
}

/** The error of a statement; for a table that is not there, one that tells what to do. */
export function missingTable (error: unknown, table: string): unknown {
  const { code, message } = error instanceof Error ? error as Error & { code?: unknown } : { message: '' }
  if (code !== '42P01' && !message.startsWith('no such table')) return error
  return new Error(`table ${table} is missing: run migrate()`, { cause: error })
}
