import { createHash, hash } from 'node:crypto'

/** The n-th token: 43 characters that look like a secret, the same in each process. */
export function tokenAt (index) {
  return createHash('sha256').update(`bench ${index}`).digest('base64url')
}

/** The digests of so many tokens in a row, as the stores look them up. */
export function tokenDigests (tokenOf, from, count) {
  return Array.from({ length: count }, (_, index) => hash('sha256', tokenOf(from + index), 'base64url'))
}

/** The n-th session, with an hour to live and a day to be remembered. */
export function sessionAt (index, subject = `user-${index % 1000}`) {
  const now = Date.now()
  return { id: `session-${index}`, subject, createdAt: now, expiresAt: now + 3_600_000, keepUntil: now + 86_400_000 }
}

/** Calls it for each of these indexes, some at a time. */
export async function inParallel (from, count, call) {
  for (let start = from; start < from + count; start += 500) {
    await Promise.all(Array.from({ length: Math.min(500, from + count - start) }, (_, index) => call(start + index)))
  }
}
