import type { Mark } from '../../revocation-store.ts'
import { tokenDigest } from '../../token-digest.ts'

const plain = /^(?:[\x20-\x22\x24-\x7e][\x20-\x7e]{0,127}|#[\w-]{43})$/

/**
 * The form in which an id is stored and compared: itself if it is short and of printable ASCII, otherwise `#` and its
 * digest. Its own form is left as it is, so a mark may be read from one store and joined to another. The number that a
 * host in JavaScript has for an id is its text.
 */
export function markId (id: string): string {
  return plain.test(id) ? `${id}` : `#${tokenDigest(id)}`
}

/** Whether an id has the form in which it is stored, if only it is of printable ASCII. */
export function isShort (id: string): boolean {
  return id.length <= 128 && !id.startsWith('#')
}

/** One text for a subject, with or without a tenant. */
export function subjectKey (subject: string, tenant: string | undefined): string {
  const id = markId(subject)
  if (tenant === undefined) return `0${id}`
  const scope = markId(tenant)
  return `${scope.length}:${scope}:${id}`
}

/** What {@link subjectKey} was made of. */
export function subjectOfKey (key: string): { readonly subject: string, readonly tenant?: string } {
  if (key.startsWith('0')) return { subject: key.slice(1) }
  const colon = key.indexOf(':')
  const end = colon + 1 + Number(key.slice(0, colon))
  return { subject: key.slice(end + 1), tenant: key.slice(colon + 1, end) }
}

/** Throws a `TypeError` that names what is wrong with a mark, never its ids. */
export function assertMarks (marks: readonly Mark[]): void {
  for (const mark of marks) {
    const id: unknown = 'tokenId' in mark ? mark.tokenId : 'sessionId' in mark ? mark.sessionId : mark.subject
    if (typeof id !== 'string' || id === '') throw new TypeError('mark: "tokenId", "sessionId" or "subject" must be a text that is not empty')
    if (!Number.isSafeInteger(mark.until)) throw new TypeError('mark: "until" must be an instant in whole epoch milliseconds')
    if ('cutoff' in mark && !Number.isSafeInteger(mark.cutoff)) throw new TypeError('mark: "cutoff" must be an instant in whole epoch milliseconds')
    if ('subject' in mark && !('cutoff' in mark)) throw new TypeError('mark: "cutoff" is missing')
  }
}
