/** A value in a statement. Texts are kept as their UTF-8 bytes. */
export type MysqlValue = string | number | null

/**
 * A statement with its values in the places of the question marks.
 *
 * A text becomes a hexadecimal literal of its UTF-8 bytes, and no character of it is part of the statement. So the values
 * do not depend on how the client formats values, on the character set of the connection, or on `sql_mode`
 * (`NO_BACKSLASH_ESCAPES` changes what ends a quoted text).
 *
 * @throws {TypeError} for a number that is not a safe integer.
 */
export function withValues (statement: string, ...values: readonly MysqlValue[]): string {
  const [first = '', ...rest] = statement.split('?')
  if (rest.length !== values.length) throw new TypeError(`the statement has ${rest.length} places for ${values.length} values`)
  return rest.reduce((text, part, index) => `${text}${literal(values[index] ?? null)}${part}`, first)
}

/** The literal of a value. */
export function literal (value: MysqlValue): string {
  if (value === null) return 'NULL'
  if (typeof value === 'string') return `X'${Buffer.from(value, 'utf8').toString('hex')}'`
  if (!Number.isSafeInteger(value)) throw new TypeError('a number in a statement must be a safe integer')
  return `${value}`
}

/** The literals of several values, for `IN (...)` and `VALUES (...)`. */
export function literals (values: readonly MysqlValue[]): string {
  return values.map(literal).join(', ')
}

/** The server's clock, in whole epoch milliseconds, whatever the time zone of the connection. */
export const mysqlClock = "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000)"
