/** The longest wait that a server can ask for, in milliseconds. */
const longestWait = 3_600_000

/**
 * The milliseconds that a `Retry-After` header asks us to wait, at most an hour. `undefined` without one, and for what is
 * neither a number of seconds nor a date.
 */
export function retryAfterOf (header: string | null | undefined): number | undefined {
  if (header === null || header === undefined) return undefined
  const wait = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now()
  return Number.isNaN(wait) ? undefined : Math.min(Math.max(wait, 0), longestWait)
}
