import { keyPrefix } from '../databases/redis.ts'
import type { MarkRow } from './row.ts'

/** The keys of a revocation store in Redis: those of the marks in one slot of a cluster, each claim in a slot of its own. */
export function revocationKeys (prefix = 'logout-revocation', caller: string) {
  const own = keyPrefix(prefix, caller)
  const tag = `{${own.slice(0, -1)}}:`
  return { ends: `${tag}ends`, marks: `${tag}marks`, feed: `${tag}feed`, heartbeat: `${tag}heartbeat:`, claim: `${own}claim:` }
}

/** {@link revocationKeys} */
export type RevocationKeys = ReturnType<typeof revocationKeys>

/** A mark of an id as it stands in Redis. Lua would round the numbers, so they are texts. */
export type StoredMark = readonly [issuer: string, tenant: string, except: string, cutoff: string, until: string]

/** The marks of one id as rows. */
export function rowsOfStored (id: string, marks: readonly StoredMark[]): MarkRow[] {
  return marks.map(([issuer, tenant, except, cutoff, until]) =>
    ({ id, issuer, tenant, except, cutoff: Number(cutoff), until: Number(until) }))
}

/** A row as it goes to Redis. */
export function storedOfRow ({ id, issuer, tenant, except, cutoff, until }: MarkRow): readonly [id: string, ...StoredMark] {
  return [id, issuer, tenant, except, `${cutoff}`, `${until}`]
}

/** Lua: the server's clock, in whole epoch milliseconds. */
export const luaClock = `
local function clock ()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
`
