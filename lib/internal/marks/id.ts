import type { Mark } from '../../revocation-store.ts'
import { tokenDigest } from '../../token-digest.ts'

const plain = /^[\x20-\x22\x24-\x7e][\x20-\x7e]{0,127}$/
const digest = /^#[\w-]{43}$/

/**
 * The form in which an id is stored and compared: itself if it is short, of printable ASCII, and does not begin with
 * `#`; otherwise `#` and its digest. No id can be spelled so that it has the stored form of another one. A number is
 * converted to its text.
 */
export function markId (id: string): string {
  return plain.test(id) ? `${id}` : `#${tokenDigest(id)}`
}

/** The stored form of an id that a mark names: a mark out of a store has it already. */
export function idOfMark (id: string, mark: Pick<Mark, 'digested'>): string {
  return isDigest(id, mark) ? id : markId(id)
}

/** Whether an id that a mark names is a digest already: its stored form. */
export function isDigest (id: string, { digested }: Pick<Mark, 'digested'>): boolean {
  return digested === true && `${id}`.startsWith('#')
}

/** Whether an id has the form in which it is stored, provided that it is of printable ASCII. */
export function isShort (id: string): boolean {
  return id.length <= 128 && !id.startsWith('#')
}

/** Whether a value can be an id: a non-empty string, or the number that stands for its text. */
export function isId (value: unknown): value is string {
  return (typeof value === 'string' && value !== '') || Number.isSafeInteger(value)
}

/** Throws a `TypeError` that names what is wrong with a mark, never its ids. */
export function assertMarks (marks: readonly Mark[]): void {
  for (const mark of marks) {
    const { tokenId, sessionId, subject, cutoff, ...scope } = { ...mark } as Readonly<Record<string, unknown>>
    assertMark(isId(tokenId ?? sessionId ?? subject), '"tokenId", "sessionId" or "subject" must be a non-empty string')
    assertMark(Number.isSafeInteger(mark.until), '"until" must be an instant in whole epoch milliseconds')
    if (subject !== undefined) assertMark(Number.isSafeInteger(cutoff), '"cutoff" must be an instant in whole epoch milliseconds')
    for (const name of ['issuer', 'tenant', 'except']) {
      assertMark(scope[name] === undefined || isId(scope[name]), `"${name}" must be a non-empty string when it is given`)
    }
    assertMark(mark.digested !== true || [tokenId, sessionId, subject, scope['issuer'], scope['tenant'], scope['except']].every(isStored),
      '"digested" is set, but an id that begins with "#" is not a digest')
  }
}

/**
 * The end of a claim, in whole epoch milliseconds.
 *
 * @throws {TypeError} unless it is an instant
 */
export function claimEnd (until: number): number {
  const end = typeof until === 'number' ? Math.ceil(until) : NaN
  if (!Number.isSafeInteger(end)) throw new TypeError('claimOnce: "until" must be an instant in epoch milliseconds')
  return end
}

function isStored (id: unknown): boolean {
  return id === undefined || !`${id}`.startsWith('#') || digest.test(`${id}`)
}

function assertMark (holds: boolean, problem: string): void {
  if (!holds) throw new TypeError(`mark: ${problem}`)
}
