/** Whether a column of a row is true. PostgreSQL clients can be set to give every value as text; SQLite has numbers. */
export function isTrue (value: unknown): boolean {
  return /^(?:true|t|1)$/.test(String(value))
}
