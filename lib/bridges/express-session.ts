import { after, isPromise, recovered } from '../internal/async/awaitable.ts'
import { callBack, valueOf, type Callback } from '../internal/async/callback.ts'
import { askWithin } from '../internal/plugin/ask.ts'
import { assertFunctions, assertOption, duration, lifetimeOf } from '../internal/plugin/options.ts'
import { checkWithin, unknownError } from '../internal/revocation/check.ts'
import { logoutMarks } from '../internal/revocation/logout-marks.ts'
import { attachProtection, sessionMarkId, type SessionProtection } from '../internal/revocation/protected-session-store.ts'
import type { Credential, RevocationStore } from '../revocation-store.ts'

/** A session store as express-session defines it: the one of @fastify/session, connect-redis, and any other. */
export interface ProtectableSessionStore {
  /** Finds a session. */
  get (sessionId: string, callback: (error: unknown, session?: unknown) => void): unknown
  /** Saves a session. */
  set (sessionId: string, session: never, callback: (error?: unknown) => void): unknown
  /** Removes a session. */
  destroy (sessionId: string, callback: (error?: unknown) => void): unknown
}

/** The type of the sessions in a store: what its `set` takes. */
export type SessionOf<Store> =
  Store extends {
    /** Saves a session. */
    set: (sessionId: string, session: infer Session, callback: never) => unknown
  }
    ? unknown extends Session ? Record<string, unknown> : [Session] extends [never] ? Record<string, unknown> : Session
    : Record<string, unknown>

/** The options of {@link protectSessionStore}. Times are milliseconds. */
export interface ProtectSessionStoreOptions<Session = Record<string, unknown>> {
  /**
   * The longest time that a session lives in the store after it was last saved: the cookie's `maxAge`, or the expiry of
   * the store itself. Saving a session whose cookie lives longer fails.
   * @default 86400000, a day, the default of connect-redis
   */
  readonly lifetime?: number | undefined
  /**
   * Returns whose session this is, so that a mark of its user revokes it: its `subject`, its `tenant`, and when the user
   * `loggedInAt`, in epoch milliseconds. Returns `undefined` for a session without a user.
   * @default no session has a user: each is revoked by its own id only
   */
  readonly credential?: ((session: Session) => Omit<Credential, 'tokenId' | 'sessionId'> | undefined | null) | undefined
  /**
   * How long the revocation store may take.
   * @default 5000
   */
  readonly timeout?: number | undefined
}

/** What {@link protectSessionStore} adds to the type of a store: a method without a callback returns a promise. */
export interface SessionStoreWithoutCallbacks {
  /** Resolves the session, or nothing for one that is unknown or revoked. */
  get (sessionId: string): Promise<unknown>
  /** Resolves once the session is saved. */
  set (sessionId: string, session: unknown): Promise<unknown>
  /** Resolves once the session is revoked. */
  destroy (sessionId: string): Promise<unknown>
}

type Method = (sessionId: string, callback: Callback) => unknown
type MethodWithSession = (sessionId: string, session: object, callback: Callback) => unknown
interface AnyStore {
  readonly get: Method
  readonly destroy: Method
  readonly set: MethodWithSession
  readonly touch?: MethodWithSession
}

const caller = 'protectSessionStore'
const slowestRequest = 3_600_000
const cleanupTimeout = 1000

type Settings = ReturnType<typeof resolveOptions>

function resolveOptions<Session> (
  store: ProtectableSessionStore, revocations: SessionProtection['revocations'], options: ProtectSessionStoreOptions<Session>
) {
  assertOption(typeof store === 'object' && store !== null, caller, 'store', 'must be the session store to protect')
  const methods: object = store
  for (const name of ['get', 'set', 'destroy'] as const) {
    const isMethod = name in methods && typeof store[name] === 'function'
    assertOption(isMethod, caller, 'store', `must have a method "${name}", as stores of express-session have`)
  }
  const areFunctions = (['check', 'revoke', 'revokeOnce'] as const).every(name => typeof revocations?.[name] === 'function')
  assertOption(areFunctions, caller, 'revocations', 'must be a revocation store, such as redisRevocationStore(redis)')
  assertFunctions(options, caller, ['credential'])
  const timeout = duration(options.timeout, 5000, caller, 'timeout')
  const { credential = () => undefined } = options
  return {
    revocations,
    lifetime: lifetimeOf(options.lifetime, 86_400_000, caller, 'lifetime'),
    credential: credential as (session: object) => unknown,
    check: checkWithin(revocations, timeout, caller),
    ask: askWithin(timeout, caller),
    askBriefly: askWithin(cleanupTimeout, caller)
  }
}

/**
 * Protects a session store against resurrection: `destroy` first marks the session as revoked, and `get` never finds a
 * revoked session, even if a request that was still running has saved it back. Such a save succeeds, and the session is
 * removed again.
 *
 * When the marks cannot be written or read, the callback gets an error with status 503, and the session is neither
 * destroyed nor found. Once the mark is written, `destroy` succeeds: a store that then fails to remove the session, or
 * takes longer than a second, is reported on the channel `fastify-logout:outage`.
 *
 * Callbacks are called synchronously where both stores answer synchronously. A method without a callback returns a
 * promise. Everything else of the store stays as it is. In marks, a session is known by `tokenDigest(sessionId)`.
 *
 * @throws {TypeError} for an option that is missing or wrong
 * @example
 * ```ts
 * import fastifySession from '@fastify/session'
 * import { protectSessionStore } from 'fastify-logout/bridges/express-session'
 * import { memoryRevocationStore } from 'fastify-logout/revocation-stores/memory'
 *
 * declare module 'fastify' {
 *   interface Session { user?: string, loggedInAt?: number }
 * }
 *
 * const store = protectSessionStore(new fastifySession.MemoryStore(), memoryRevocationStore(), {
 *   lifetime: 30 * 24 * 3_600_000,
 *   credential: ({ user, loggedInAt }) => user === undefined ? undefined : { subject: user, loggedInAt }
 * })
 * ```
 */
export function protectSessionStore<Store extends ProtectableSessionStore, Session = SessionOf<Store>> (
  store: Store,
  revocations: Pick<RevocationStore, 'check' | 'revoke' | 'revokeOnce'>,
  options: ProtectSessionStoreOptions<Session> = {}
): Store & SessionStoreWithoutCallbacks {
  const settings = resolveOptions(store, revocations, options)
  const inner = store as unknown as AnyStore
  const protection = protectionOf(inner, settings)
  // Inheriting keeps what callers of a store of express-session rely on: events, `generate`, `regenerate`.
  const own = Object.assign(Object.create(store), forwarders(store), protectedMethods(inner, settings, protection))
  attachProtection(own, protection)
  return own
}

function protectionOf (inner: AnyStore, { revocations, lifetime, credential, askBriefly }: Settings): SessionProtection {
  return {
    revocations,
    lifetime: lifetime + slowestRequest,
    credentialOf: (id, session) => ({ ...credentialWithoutId(credential, session), sessionId: sessionMarkId(id) }),
    remove: id => askBriefly('store.destroy', () => after(valueOf(done => inner.destroy(id, done)), () => {}))
  }
}

function credentialWithoutId (credential: (session: object) => unknown, session: object): object {
  let known
  try {
    known = credential(session)
  } catch (cause) {
    throw new TypeError(`${caller}: option "credential" threw an error. It must return undefined for a session without a user`, { cause })
  }
  assertOption(known === undefined || (typeof known === 'object' && !isPromise(known)), caller, 'credential',
    'must return an object such as { subject, loggedInAt }, or undefined for a session without a user')
  return { ...known }
}

function protectedMethods (inner: AnyStore, settings: Settings, protection: SessionProtection): Partial<AnyStore> {
  const { revocations, check, ask, lifetime } = settings
  const { credentialOf, remove } = protection
  const removeQuietly = (id: string) => recovered(() => remove(id), () => {})

  const get: Method = (id, callback) => callBack(callback, () =>
    after(valueOf(done => inner.get(id, done)), session => {
      if (typeof session !== 'object' || session === null) return session
      const credential = credentialOf(id, session)
      const verdict = recovered(() => check(credential), cause => { throw unknownError(cause) })
      return after(verdict, verdict => verdict === 'live' ? session : null)
    }))

  const set: MethodWithSession = (id, session, callback) => callBack(callback, () => {
    assertNoLonger(session, lifetime)
    const credential = credentialOf(id, session)
    return after(valueOf(done => inner.set(id, session, done)), () => {
      // Where the marks cannot be read now, `get` reads them.
      const verdict = recovered(() => check(credential), () => 'live' as const)
      return after(verdict, verdict => verdict === 'live' ? undefined : removeQuietly(id))
    })
  })

  const touch: MethodWithSession = (id, session, callback) => callBack(callback, () => {
    assertNoLonger(session, lifetime)
    return valueOf(done => inner.touch?.(id, session, done))
  })

  const destroy: Method = (id, callback) => callBack(callback, () => {
    const marks = logoutMarks({ sessionId: sessionMarkId(id) }, { lifetime: protection.lifetime })
    const marked = recovered(() => ask('revocations.revoke', () => revocations.revoke(...marks)), cause => {
      throw Object.assign(new Error('the session could not be revoked: retry', { cause }), { statusCode: 503 })
    })
    return after(marked, () => removeQuietly(id))
  })

  return { get, set, destroy, ...(typeof inner.touch === 'function' && { touch }) }
}

/** The methods that need no protection run on the store itself: it may keep its state in private fields. */
function forwarders (store: object): object {
  const methods = store as Record<string, ((...values: unknown[]) => unknown) | undefined>
  const names = ['all', 'ids', 'length', 'clear'].filter(name => typeof methods[name] === 'function')
  return Object.fromEntries(names.map(name => [name, (...values: unknown[]) => methods[name]?.(...values)]))
}

/** A mark must outlive the session: a cookie that lives longer than `lifetime` would bring a revoked session back. */
function assertNoLonger (session: object, lifetime: number): void {
  const { cookie } = session as { cookie?: { originalMaxAge?: unknown, originalExpires?: unknown, expires?: unknown } }
  const { originalMaxAge, originalExpires, expires } = cookie ?? {}
  const lives = [Number(originalMaxAge), millisecondsUntil(originalExpires), millisecondsUntil(expires)]
  assertOption(!lives.some(life => life > lifetime), caller, 'lifetime',
    "must not be shorter than the life of the session's cookie, its maxAge or expires")
}

function millisecondsUntil (instant: unknown): number {
  return instant instanceof Date || typeof instant === 'string' ? new Date(instant).getTime() - Date.now() : NaN
}
