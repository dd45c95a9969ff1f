import { keyPrefix } from '../databases/redis.ts'
import type { MarkRow } from './row.ts'

/** The keys of a revocation store in Redis, all in one slot of a cluster. */
export function revocationKeys (prefix = 'logout-revocation', caller: string) {
  const tag = `{${keyPrefix(prefix, caller).slice(0, -1)}}:`
  return { ends: `${tag}ends`, marks: `${tag}marks`, feed: `${tag}feed`, claim: `${tag}claim:` }
}

/** Reads the marks of one id as the store's script writes them: the numbers in them are texts. */
export function rowsOfText (id: string, text: string): MarkRow[] {
  const rows = JSON.parse(text) as Array<Omit<MarkRow, 'id' | 'cutoff' | 'until'> & Record<'cutoff' | 'until', string>>
  return rows.map(row => ({ ...row, id, cutoff: Number(row.cutoff), until: Number(row.until) }))
}
