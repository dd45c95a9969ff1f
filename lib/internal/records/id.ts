/**
 * The text of an id: a string as it is, a whole number as its digits. Hosts in plain JavaScript often have numbers for
 * ids, and every store must take `7` and `'7'` for the same one.
 *
 * @throws {TypeError} for anything else; `name` begins the message, which never holds the id.
 */
export function idText (id: unknown, name: string): string {
  if (typeof id === 'string') return id
  if (Number.isSafeInteger(id) || typeof id === 'bigint') return String(id)
  throw new TypeError(`${name} must be a string`)
}

/** Whether a database can keep the text as it is: UTF-8 has no lone surrogates, PostgreSQL keeps no NUL. */
export function isWellFormed (text: string): boolean {
  return !/\0|\p{Surrogate}/u.test(text)
}

/**
 * Checks a time before it is stored.
 *
 * @throws {TypeError} unless it is whole epoch milliseconds; `name` begins the message.
 */
export function assertTime (time: unknown, name: string): void {
  if (!Number.isSafeInteger(time) || Number(time) < 0) throw new TypeError(`${name} must be whole epoch milliseconds`)
}
