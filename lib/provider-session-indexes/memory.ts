import type { Immediate } from '../awaitable.ts'
import { deadlineQueue, type DeadlineQueue } from '../internal/collections/deadline-queue.ts'
import {
  boundSessions, loginRecord, logoutRecord, wholeGroup, withoutSid, type LoginRecord, type LogoutRecord
} from '../internal/records/provider-session.ts'
import type { ProviderSessionIndex } from '../provider-session-index.ts'

/** How much {@link memoryProviderSessionIndex} may hold. */
export interface MemoryProviderSessionIndexOptions {
  /** The most logins. When the index is full, `bind` throws: no login is forgotten to make room. @default 100000 */
  readonly maxLogins?: number | undefined
}

/** {@link memoryProviderSessionIndex}. It returns plain values, never a promise. */
export interface MemoryProviderSessionIndex extends Immediate<ProviderSessionIndex> {}

/**
 * Keeps the index in this process: a restart forgets it, and other processes do not know it. For tests, examples and hosts
 * with one process whose sessions are in memory too. It runs no timers.
 *
 * @throws {TypeError} when `maxLogins` is not a positive integer
 * @example
 * ```ts
 * import { memoryProviderSessionIndex } from 'fastify-logout/provider-session-indexes/memory'
 *
 * const index = memoryProviderSessionIndex()
 * const [issuer, now] = ['https://login.example', Date.now()]
 * const login = { issuer, subject: 'alice', sid: '08a5019c', issuedAt: now }
 * index.bind(login, { sessionId: '1', subject: 'alice' }, now + 3_600_000) // 'live'
 * index.logOut({ issuer, sid: '08a5019c', cutoff: now, until: now + 3_600_000 }) // [{ sessionId: '1', subject: 'alice' }]
 * ```
 */
export function memoryProviderSessionIndex (options: MemoryProviderSessionIndexOptions = {}): MemoryProviderSessionIndex {
  const kept = emptyIndex(resolveOptions(options).maxLogins)

  return {
    bind (login, session, until) {
      const record = loginRecord(login, session, until)
      forgetDue(kept)
      if (until > Date.now()) remember(kept, record)
      return isRevoked(kept, record) ? 'revoked' : 'live'
    },

    logOut (logout) {
      const record = logoutRecord(logout)
      forgetDue(kept)
      const cutoffs = record.scopes.map(scope => joined(kept, record, scope))
      return boundSessions(covered(kept, record.group, new Map(cutoffs.map(({ scope, cutoff }) => [scope, cutoff]))))
    }
  }
}

const forgottenPerCall = 16

function resolveOptions ({ maxLogins = 100_000 }: MemoryProviderSessionIndexOptions) {
  if (!Number.isSafeInteger(maxLogins) || maxLogins < 1) {
    throw new TypeError('memoryProviderSessionIndex: option "maxLogins" must be a positive integer')
  }
  return { maxLogins }
}

interface Index {
  readonly most: number
  readonly logins: Map<string, LoginRecord>
  /** The logins of each group, by their ids. */
  readonly groups: Map<string, Map<string, LoginRecord>>
  readonly cutoffs: Map<string, Cutoff>
  readonly dueLogins: DeadlineQueue<LoginRecord>
  readonly dueCutoffs: DeadlineQueue<Cutoff>
}

/** A remembered logout of one scope. */
interface Cutoff {
  readonly key: string
  readonly scope: string
  readonly cutoff: number
  readonly until: number
}

function emptyIndex (most: number): Index {
  return {
    most,
    logins: new Map(),
    groups: new Map(),
    cutoffs: new Map(),
    dueLogins: deadlineQueue(({ until }) => until),
    dueCutoffs: deadlineQueue(({ until }) => until)
  }
}

function remember (index: Index, login: LoginRecord): void {
  const known = index.logins.get(login.id)
  if (known !== undefined && known.until >= login.until) return
  if (known === undefined && index.logins.size >= index.most) throw new Error(`the index is full: maxLogins is ${index.most}`)
  index.logins.set(login.id, login)
  for (const group of groupsOf(login)) {
    const logins = index.groups.get(group) ?? new Map()
    index.groups.set(group, logins.set(login.id, login))
  }
  index.dueLogins.add(login)
}

function groupsOf ({ subjectKey, sidKey }: LoginRecord): string[] {
  return sidKey === withoutSid ? [subjectKey] : [subjectKey, sidKey]
}

function isRevoked (index: Index, { subjectKey, sidKey, issuedAt }: LoginRecord): boolean {
  const cutoffs = [cutoffKey(subjectKey, wholeGroup), cutoffKey(subjectKey, sidKey), cutoffKey(sidKey, wholeGroup)]
  return cutoffs.some(key => liveCutoff(index, key) >= issuedAt)
}

function cutoffKey (group: string, scope: string): string {
  return `${group} ${scope}`
}

function liveCutoff ({ cutoffs }: Index, key: string): number {
  const known = cutoffs.get(key)
  return known !== undefined && known.until > Date.now() ? known.cutoff : -Infinity
}

/** Remembers a cutoff, joined with the one that was known, and returns it. */
function joined (index: Index, { group, cutoff, until }: LogoutRecord, scope: string): Cutoff {
  const key = cutoffKey(group, scope)
  const known = index.cutoffs.get(key)
  const joint = { key, scope, cutoff: Math.max(cutoff, liveCutoff(index, key)), until: Math.max(until, known?.until ?? until) }
  if (joint.until > Date.now() && (joint.cutoff !== known?.cutoff || joint.until !== known.until)) {
    index.cutoffs.set(key, joint)
    index.dueCutoffs.add(joint)
  }
  return joint
}

/** The sessions of the logins that cutoffs of their scope cover. */
function * covered ({ groups }: Index, group: string, cutoffs: ReadonlyMap<string, number>): Generator<string> {
  const now = Date.now()
  for (const { sidKey, issuedAt, until, session } of groups.get(group)?.values() ?? []) {
    const cutoff = cutoffs.get(wholeGroup) ?? cutoffs.get(sidKey) ?? -Infinity
    if (issuedAt <= cutoff && until > now) yield session
  }
}

/** Forgets what is due, unless it was replaced by something that lasts longer. */
function forgetDue (index: Index): void {
  const now = Date.now()
  for (let forgotten = 0; forgotten < forgottenPerCall; forgotten++) {
    const login = index.dueLogins.takeDue(now)
    const cutoff = index.dueCutoffs.takeDue(now)
    if (login !== undefined && index.logins.get(login.id) === login) forgetLogin(index, login)
    if (cutoff !== undefined && index.cutoffs.get(cutoff.key) === cutoff) index.cutoffs.delete(cutoff.key)
    if (login === undefined && cutoff === undefined) return
  }
}

function forgetLogin ({ logins, groups }: Index, login: LoginRecord): void {
  logins.delete(login.id)
  for (const key of groupsOf(login)) {
    const group = groups.get(key)
    group?.delete(login.id)
    if (group?.size === 0) groups.delete(key)
  }
}
