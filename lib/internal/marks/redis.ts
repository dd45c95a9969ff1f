import { keyPrefix } from '../databases/redis.ts'
import { always, type MarkRow } from './row.ts'

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

/** How the text of a single mark begins that names nothing but a token or a session. Its end follows, as a number. */
const beginOfSingle = `[["","","","${always}","`

/** The marks of one id as rows, from the text in Redis. A replica loads millions of them, most of which are single marks. */
export function rowsOfText (id: string, text: string): MarkRow[] {
  if (!text.startsWith(beginOfSingle) || text.indexOf('"', beginOfSingle.length) !== text.length - 3) {
    return rowsOfStored(id, JSON.parse(text) as StoredMark[])
  }
  const until = Number(text.slice(beginOfSingle.length, -3))
  return [{ id, issuer: '', tenant: '', except: '', cutoff: always, until }]
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
