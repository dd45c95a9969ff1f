import type { MarkRow } from './row.ts'

/**
 * Whether a mark revokes something that others of the same id, issuer and tenant do not revoke. Two cutoffs that leave
 * different sessions alone leave none alone together.
 */
export function isNews (row: MarkRow, known: readonly MarkRow[]): boolean {
  const later = known.filter(({ id, issuer, tenant, cutoff }) =>
    id === row.id && issuer === row.issuer && tenant === row.tenant && cutoff >= row.cutoff)
  return later.length < 2 && !later.some(({ except }) => except === '' || except === row.except)
}
