import type { UserKey } from '../../user-status-store.ts'

/**
 * The two ids as values of a statement.
 *
 * @throws {Error} for a lone surrogate: as UTF-8 it would become the same character as another one, and two users one.
 */
export function idsOf ({ tenant, subject }: UserKey): [tenant: string, subject: string] {
  if (/\p{Cs}/u.test(tenant) || /\p{Cs}/u.test(subject)) throw new Error('the id of a tenant or subject is not well-formed')
  return [tenant, subject]
}
