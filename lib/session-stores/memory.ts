import { Buffer } from 'node:buffer'
import type { Immediate } from '../awaitable.ts'
import { deadlineQueue, type DeadlineQueue } from '../internal/collections/deadline-queue.ts'
import { queryById, queryBySubject, queryPage, type PageQuery } from '../internal/records/session-query.ts'
import { sessionOf, sessionRecord, type SessionRecord } from '../internal/records/session.ts'
import type { Session, SessionStore } from '../session-store.ts'
import { tokenDigest } from '../token-digest.ts'

/** How much {@link memorySessionStore} may hold. */
export interface MemorySessionStoreOptions {
  /**
   * The most sessions, logged-out ones included until their `keepUntil`. When the store is full, `create` throws: nobody
   * is logged out to make room. @default 100000
   */
  readonly maxSessions?: number | undefined
}

/** {@link memorySessionStore}. It returns plain values, never a promise. */
export interface MemorySessionStore extends Immediate<SessionStore> {}

/**
 * Keeps sessions in this process: a restart forgets them, and other processes do not know them. For tests, examples and
 * hosts with one process.
 *
 * It runs no timers, and logs out a subject's ten thousand sessions as fast as ten.
 *
 * @throws {TypeError} when `maxSessions` is not a positive integer.
 * @example
 * ```ts
 * import { memorySessionStore } from 'fastify-logout/session-stores/memory'
 *
 * const sessions = memorySessionStore({ maxSessions: 10_000 })
 * const now = Date.now()
 * sessions.create('a-token', { id: '1', subject: 'alice', createdAt: now, expiresAt: now + 60_000, keepUntil: now + 60_000 })
 * sessions.logOut('a-token') // { id: '1', subject: 'alice', status: 'active', ... }
 * ```
 */
export function memorySessionStore (options: MemorySessionStoreOptions = {}): MemorySessionStore {
  const sessions = emptySessions(resolveOptions(options).maxSessions)

  return {
    create (token, session) {
      add(sessions, tokenDigest(token), sessionRecord(token, session))
    },

    find (token) {
      const kept = sessions.byDigest.get(tokenDigest(token))
      return isRemembered(kept) ? asSession(kept) : undefined
    },

    logOut: token => logOut(sessions, sessions.byDigest.get(tokenDigest(token))),

    logOutById (asked) {
      const query = queryById(asked)
      const kept = query && sessions.byId.get(query.id)
      return query?.subject === null || query?.subject === kept?.subject ? logOut(sessions, kept) : undefined
    },

    logOutSubject ({ count, ...asked }) {
      const query = queryBySubject(asked)
      const group = query && sessions.bySubject.get(query.subject)
      const ended = count === true ? liveIn(group, query?.except).length : undefined
      if (group !== undefined) endGroup(sessions, group, query?.except)
      return ended
    },

    list (page) {
      const query = queryPage(page)
      return query === undefined ? [] : pageOf(sessions.bySubject.get(query.subject), query)
    }
  }
}

const forgottenPerCreate = 16

function resolveOptions ({ maxSessions = 100_000 }: MemorySessionStoreOptions) {
  if (!Number.isSafeInteger(maxSessions) || maxSessions < 1) {
    throw new TypeError('memorySessionStore: option "maxSessions" must be a positive integer')
  }
  return { maxSessions }
}

interface Sessions {
  readonly most: number
  readonly byDigest: Map<string, Kept>
  readonly byId: Map<string, Kept>
  readonly bySubject: Map<string, Group>
  readonly due: DeadlineQueue<Kept>
}

function emptySessions (most: number): Sessions {
  return { most, byDigest: new Map(), byId: new Map(), bySubject: new Map(), due: deadlineQueue(({ keepUntil }) => keepUntil) }
}

/** A session in memory. It is in the chain of its group until it is logged out. One object, because there may be millions. */
interface Kept extends SessionRecord {
  readonly digest: string
  loggedOut: boolean
  group: Group
  previous: Kept | undefined
  next: Kept | undefined
}

/** The sessions of a subject that are not logged out, as a chain. Ending the group ends all of them without touching them. */
interface Group {
  readonly subject: string
  ended: boolean
  first: Kept | undefined
}

function add (sessions: Sessions, digest: string, record: SessionRecord): void {
  const isTaken = () => sessions.byDigest.has(digest) || sessions.byId.has(record.id)
  forgetDue(sessions, isTaken() ? Infinity : forgottenPerCreate)
  if (isTaken()) throw new Error('a session with this token or id exists already')
  if (sessions.byDigest.size >= sessions.most) throw new Error(`the session store is full: maxSessions is ${sessions.most}`)

  const group = sessions.bySubject.get(record.subject) ?? newGroup(sessions, record.subject)
  const kept = newKept(digest, record, group)
  sessions.byDigest.set(digest, kept)
  sessions.byId.set(kept.id, kept)
  sessions.due.add(kept)
  enter(group, kept)
}

/** Its subject is the one text that all sessions of the group share. */
function newKept (digest: string, record: SessionRecord, group: Group): Kept {
  const { id, createdAt, expiresAt, keepUntil, details } = record
  const { subject } = group
  return { digest, id, subject, createdAt, expiresAt, keepUntil, details, loggedOut: false, group, previous: undefined, next: undefined }
}

function newGroup (sessions: Sessions, subject: string): Group {
  const group: Group = { subject, ended: false, first: undefined }
  sessions.bySubject.set(subject, group)
  return group
}

function enter (group: Group, kept: Kept): void {
  kept.group = group
  kept.previous = undefined
  kept.next = group.first
  if (group.first !== undefined) group.first.previous = kept
  group.first = kept
}

function leave (sessions: Sessions, { group, previous, next }: Kept): void {
  if (previous !== undefined) previous.next = next
  else group.first = next
  if (next !== undefined) next.previous = previous
  if (group.first === undefined && !group.ended) sessions.bySubject.delete(group.subject)
}

function forgetDue (sessions: Sessions, atMost: number): void {
  const now = Date.now()
  for (let forgotten = 0; forgotten < atMost; forgotten++) {
    const kept = sessions.due.takeDue(now)
    if (kept === undefined) return
    sessions.byDigest.delete(kept.digest)
    sessions.byId.delete(kept.id)
    if (!kept.loggedOut) leave(sessions, kept)
  }
}

function logOut (sessions: Sessions, kept: Kept | undefined): Session | undefined {
  if (!isRemembered(kept)) return undefined
  const before = asSession(kept)
  if (!kept.loggedOut) leave(sessions, kept)
  kept.loggedOut = true
  return before
}

function endGroup (sessions: Sessions, group: Group, except: string | null | undefined): void {
  const excepted = typeof except === 'string' ? sessions.byId.get(except) : undefined
  const stays = excepted !== undefined && excepted.group === group && !excepted.loggedOut
  if (stays) leave(sessions, excepted)
  group.ended = true
  sessions.bySubject.delete(group.subject)
  if (stays) enter(newGroup(sessions, group.subject), excepted)
}

function isRemembered (kept: Kept | undefined): kept is Kept {
  return kept !== undefined && kept.keepUntil > Date.now()
}

function asSession (kept: Kept): Session {
  return sessionOf(kept, !kept.loggedOut && !kept.group.ended)
}

/** The live sessions of a group except one. */
function liveIn (group: Group | undefined, except: string | null | undefined): Kept[] {
  const now = Date.now()
  const live: Kept[] = []
  for (let kept = group?.first; kept !== undefined; kept = kept.next) {
    if (kept.expiresAt > now && kept.id !== except) live.push(kept)
  }
  return live
}

function pageOf (group: Group | undefined, { except, start, limit }: PageQuery): Session[] {
  return liveIn(group, except).filter(kept => newestFirst(start, kept) < 0).sort(newestFirst).slice(0, limit).map(asSession)
}

function newestFirst (a: Pick<Session, 'id' | 'createdAt'>, b: Pick<Session, 'id' | 'createdAt'>): number {
  return b.createdAt - a.createdAt || Buffer.compare(Buffer.from(b.id), Buffer.from(a.id))
}
