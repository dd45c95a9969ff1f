import type { UserKey } from '../../user-status-store.ts'
import { idText, isWellFormed } from './id.ts'

/**
 * The texts of a user's two ids, for every store alike.
 *
 * @throws {TypeError} for an id that is neither a string nor a whole number, or that some backend cannot keep: one with a
 * NUL or a lone surrogate. As UTF-8 two lone surrogates are the same character, and two users would be one.
 */
export function idsOf ({ tenant, subject }: UserKey): [tenant: string, subject: string] {
  return [keepableId(tenant, 'the id of a tenant'), keepableId(subject, 'the id of a subject')]
}

/** One text for both ids: the length says where the tenant ends, whatever is in it. */
export function userKeyOf (user: UserKey): string {
  const [tenant, subject] = idsOf(user)
  return `${tenant.length}:${tenant}${subject}`
}

function keepableId (id: unknown, name: string): string {
  const text = idText(id, name)
  if (!isWellFormed(text)) throw new TypeError(`${name} must be well-formed Unicode without NUL`)
  return text
}
