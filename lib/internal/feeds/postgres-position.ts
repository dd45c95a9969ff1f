/** The values of the table's key, in their order. */
export type MarkKey = readonly [id: string, issuer: string, tenant: string, except: string]

/** How far a feed has come: every mark in the snapshot `seen` was handed out, except for those that are still being loaded. */
export interface Place {
  /** The server, its history and the table. */
  readonly server: string
  /** The connection on which it was read. */
  readonly session: string
  readonly seen: string
  /** While it loads: every mark up to this one was handed out. */
  readonly loaded?: MarkKey | undefined
  /** While it reads what is new in several pages: the snapshot that it will have seen then, and up to which mark it has come. */
  readonly next?: { readonly seen: string, readonly after: readonly [written: string, ...key: MarkKey] } | undefined
  /** The last heartbeat that was found or with which it began, and what had been seen before it was written. */
  readonly proof: { readonly id: string, readonly value: string, readonly seen: string }
}

/** Reads a position. Returns `undefined` for one of another kind of feed. */
export function placeOf (position: string | undefined): Place | undefined {
  try {
    const place = JSON.parse(position ?? 'null') as Partial<Place> | null
    const { server, session, seen, proof } = place ?? {}
    const isPlace = [server, session, seen, proof?.id, proof?.value, proof?.seen].every(part => typeof part === 'string')
    return isPlace ? place as Place : undefined
  } catch {
    return undefined
  }
}

/** What a snapshot of Postgres says: the transactions before `end` have ended, except for those that are running. */
export function transactionsOf (snapshot: string): { readonly end: string, readonly running: readonly string[] } {
  const [, end = '', running = ''] = snapshot.split(':')
  return { end, running: running === '' ? [] : running.split(',') }
}
