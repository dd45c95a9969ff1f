import { Buffer } from 'node:buffer'
import { deadlineQueue } from '../internal/collections/deadline-queue.ts'
import { sessionOf, sessionRecord, type SessionRecord } from '../internal/records/session.ts'
import type { Session, SessionPage, SessionStore } from '../session-store.ts'
import { tokenDigest } from '../token-digest.ts'

/** How much {@link memorySessionStore} may hold. */
export interface MemorySessionStoreOptions {
  /**
   * At most so many sessions, logged-out ones included until their `keepUntil`. Once they are reached, `create`
   * refuses: nobody is logged out to make room. @default 100000
   */
  readonly maxSessions?: number | undefined
}

interface Kept {
  readonly digest: string
  readonly record: SessionRecord
  loggedOut: boolean
  generation: Generation
}

/** The sessions of a subject that one {@link SessionStore.logOutSubject} ends: by `ended`, without touching them. */
interface Generation {
  ended: boolean
  readonly live: Map<string, Kept>
}

const forgottenPerCreate = 16

/**
 * Sessions in this process: gone with a restart, unknown to other nodes. For tests, examples and single-process hosts.
 *
 * It answers without a promise, runs no timers, and logs out a subject's ten thousand sessions as fast as ten.
 *
 * @throws {TypeError} when `maxSessions` is no positive whole number
 */
export function memorySessionStore ({ maxSessions = 100_000 }: MemorySessionStoreOptions = {}): SessionStore {
  if (!Number.isSafeInteger(maxSessions) || maxSessions < 1) {
    throw new TypeError('memorySessionStore: maxSessions must be a positive whole number')
  }
  const byDigest = new Map<string, Kept>()
  const byId = new Map<string, Kept>()
  const bySubject = new Map<string, Generation>()
  const keepUntil = deadlineQueue<Kept>()

  const kept = (found: Kept | undefined) => found !== undefined && found.record.keepUntil > Date.now() ? found : undefined

  function logOut (found: Kept | undefined, subject?: string): Session | undefined {
    const session = kept(found)
    if (session === undefined || (subject !== undefined && subject !== session.record.subject)) return undefined
    const before = asSession(session)
    session.loggedOut = true
    leaveGeneration(session)
    return before
  }

  function leaveGeneration ({ generation, record }: Kept) {
    generation.live.delete(record.id)
    if (generation.live.size === 0 && bySubject.get(record.subject) === generation) bySubject.delete(record.subject)
  }

  function enterGeneration (session: Kept) {
    session.generation.live.set(session.record.id, session)
    bySubject.set(session.record.subject, session.generation)
  }

  function forgetDue (atMost: number) {
    const now = Date.now()
    for (let forgotten = 0; forgotten < atMost; forgotten++) {
      const due = keepUntil.takeDue(now)
      if (due === undefined) return
      byDigest.delete(due.digest)
      byId.delete(due.record.id)
      leaveGeneration(due)
    }
  }

  return {
    create (token, session) {
      const record = sessionRecord(token, session)
      const digest = tokenDigest(token)
      forgetDue(byDigest.has(digest) || byId.has(record.id) ? Infinity : forgottenPerCreate)
      if (byDigest.has(digest) || byId.has(record.id)) throw new Error('a session with this token or id exists already')
      if (byDigest.size >= maxSessions) throw new Error(`the session store is full: maxSessions is ${maxSessions}`)

      const created = { digest, record, loggedOut: false, generation: bySubject.get(record.subject) ?? newGeneration() }
      byDigest.set(digest, created)
      byId.set(record.id, created)
      enterGeneration(created)
      keepUntil.add(record.keepUntil, created)
    },

    find (token) {
      const found = kept(byDigest.get(tokenDigest(token)))
      return found && asSession(found)
    },

    logOut: token => logOut(byDigest.get(tokenDigest(token))),

    logOutById: ({ id, subject }) => logOut(byId.get(id), subject),

    logOutSubject ({ subject, except, count }) {
      const generation = bySubject.get(subject)
      const spared = except === undefined ? undefined : generation?.live.get(except)
      const ended = count === true ? liveIn(generation, except).length : undefined
      if (generation === undefined) return ended

      generation.ended = true
      bySubject.delete(subject)
      if (spared !== undefined) {
        spared.generation = newGeneration()
        enterGeneration(spared)
      }
      return ended
    },

    list: page => pageOf(liveIn(bySubject.get(page.subject), page.except), page)
  }
}

function newGeneration (): Generation {
  return { ended: false, live: new Map() }
}

function asSession ({ record, loggedOut, generation }: Kept): Session {
  return sessionOf(record, !loggedOut && !generation.ended)
}

function liveIn (generation: Generation | undefined, except: string | undefined): Kept[] {
  const now = Date.now()
  return [...generation?.live.values() ?? []].filter(({ record }) => record.expiresAt > now && record.id !== except)
}

function pageOf (live: Kept[], { after, limit }: SessionPage): Session[] {
  return live
    .filter(({ record }) => after === undefined || newestFirst(after, record) < 0)
    .sort((a, b) => newestFirst(a.record, b.record))
    .slice(0, limit)
    .map(asSession)
}

function newestFirst (a: Pick<Session, 'id' | 'createdAt'>, b: Pick<Session, 'id' | 'createdAt'>): number {
  return b.createdAt - a.createdAt || Buffer.compare(Buffer.from(b.id), Buffer.from(a.id))
}
