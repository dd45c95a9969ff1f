import { listOf, numberOf, textOf, type Reply } from '../databases/redis.ts'
import { sessionOf, type SessionRecord } from '../records/session.ts'
import type { Session, SessionPage, SubjectLogout } from '../../session-store.ts'

/**
 * The keys of a store: one for each session, public id and subject. Each may be on another server of a cluster.
 *
 * - A session is a hash: `session` (JSON), `subject` (escaped), `entry`, and `by`, the call that created it. It is
 *   written once.
 * - An id is a hash: `digest`, `subject` (escaped), `entry` and `by`.
 * - A subject is a sorted set, see `subject-lua.ts`. A session is active as long as its entry stands there.
 *
 * What hosts choose is escaped: no id or subject can spell another key, or a hash tag that chooses its server.
 */
export interface SessionKeys {
  session (digest: string): string
  id (id: string): string
  /** The key of an escaped subject. */
  subject (escaped: string): string
  /** How long a key is behind the prefix, for scripts that make other keys from it. */
  tail (key: string): string
}

/** The keys that begin with this prefix. */
export function sessionKeys (prefix: string): SessionKeys {
  return {
    session: digest => `${prefix}s:${digest}`,
    id: id => `${prefix}i:${encodeURIComponent(id)}`,
    subject: escaped => `${prefix}u:${escaped}`,
    tail: key => `${key.length - prefix.length}`
  }
}

/** A session as it is stored. */
export interface NewRecord {
  readonly record: SessionRecord
  readonly digest: string
}

/** The verbs of a store. A `call` is the same when a client sends a command again. */
export interface RedisSessions {
  /** Resolves `false` when the token or the id is taken. */
  create (session: NewRecord, call: string): Promise<boolean>
  find (digest: string): Promise<Session | undefined>
  logOut (digest: string, call: string): Promise<Session | undefined>
  logOutById (query: { readonly id: string, readonly subject?: string | undefined }, call: string): Promise<Session | undefined>
  logOutSubject (query: SubjectLogout, call: string): Promise<number>
  list (page: SessionPage): Promise<Session[]>
}

/** A time that sorts as text: 11 digits of base 36. */
export function sortable (time: number): string {
  return time.toString(36).padStart(11, '0')
}

/** What the scripts know of a session: its creation and id, NUL, which is in no id, its expiry and retention. */
export function entryOf ({ record }: NewRecord): string {
  return `${startOf(record)}\0${sortable(record.expiresAt)}${sortable(record.keepUntil)}`
}

/** The expiry in an entry, sortable. */
export function expiryOf (entry: string): string {
  return entry.slice(-22, -11)
}

/** The name of a session in a list, behind its epoch: it must be that of its entry. */
export function listedName (entry: string): string {
  return `${entry.slice(0, -22)}${entry.slice(-11)}`
}

/** The id in the name of a session in a list. */
export function listedId (name: string): string {
  return name.slice(11, -12)
}

function startOf ({ createdAt, id }: Pick<Session, 'createdAt' | 'id'>): string {
  return `${sortable(createdAt)}${id}`
}

/** What a script needs for a page: the name that it starts behind, the number of sessions, the present time, and the id left out. */
export function pageValues ({ after, limit, except }: SessionPage): [before: string, limit: string, now: string, except: string] {
  const before = after === undefined ? '~' : `${startOf(after)}\0`
  return [before, `${limit}`, sortable(Date.now()), except ?? '']
}

/** The session of a reply: its JSON, and 1 if it is active. */
export function sessionOfReply (reply: Reply): Session | undefined {
  if (reply === null) return undefined
  const [record, active] = listOf(reply)
  return sessionOfText(record, numberOf(active) === 1)
}

/** The session of its JSON. */
export function sessionOfText (record: Reply | undefined, active: boolean): Session {
  return sessionOf(JSON.parse(textOf(record)), active)
}
