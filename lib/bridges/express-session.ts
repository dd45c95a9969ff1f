import { assertFunctions, assertOption, duration } from '../internal/plugin/options.ts'
import { checkWithin, revokeWithin, unknownError } from '../internal/revocation/check.ts'
import type { Credential, RevocationStore, Verdict } from '../revocation-store.ts'
import { tokenDigest } from '../token-digest.ts'

/** What is asked of a store of express-session: the one of @fastify/session, connect-redis, and any other. */
export interface ProtectableSessionStore {
  /** Finds a session. It is not asked for one that is revoked. */
  get (sessionId: string, callback: (error: unknown, session?: unknown) => void): unknown
  /** Saves a session, also one that was destroyed while its request ran. */
  set (sessionId: string, session: never, callback: (error?: unknown) => void): unknown
  /** Forgets a session, once its mark is written. */
  destroy (sessionId: string, callback: (error?: unknown) => void): unknown
}

/** How {@link protectSessionStore} tells what a session is, and how long it has to remember that it was revoked. */
export interface ProtectSessionStoreOptions {
  /** The longest time a session lives in the store after it was last saved, in milliseconds: the cookie's `maxAge`, or the store's own expiry. @default 86400000, a day, as connect-redis has it */
  readonly lifetime?: number | undefined
  /** What else is known of a session, so that it can be logged out with all of its subject: its `subject`, `tenant`, and when it was `issuedAt`. */
  readonly credential?: ((session: Record<string, unknown>) => Omit<Credential, 'tokenId' | 'sessionId'>) | undefined
  /** How long the revocation store may take, in milliseconds. @default 5000 */
  readonly timeout?: number | undefined
}

/** What {@link protectSessionStore} adds to the type of a store: whoever gives no callback gets a promise, as of connect-redis. */
export interface SessionStoreWithoutCallbacks {
  /** Resolves the session, or nothing for one that is unknown or revoked. */
  get (sessionId: string): Promise<unknown>
  /** Resolves once the session is saved. */
  set (sessionId: string, session: unknown): Promise<unknown>
  /** Resolves once the mark is written and the session is gone. */
  destroy (sessionId: string): Promise<unknown>
}

type Callback = (error?: unknown, session?: unknown) => void
type AnyStore = { [Method in 'get' | 'destroy']: (sessionId: string, callback: Callback) => unknown } & {
  set (sessionId: string, session: unknown, callback: Callback): unknown
}

const slowestRequest = 3_600_000

/**
 * Makes a session store proof against resurrection: `destroy` first marks the session as revoked, and `get` never finds a
 * revoked session again, also when a request that was still running saves it back afterwards.
 *
 * Everything else of the store stays as it is. When the marks cannot be written or read, the callback gets an error of
 * status 503, and the session is neither destroyed nor found. A callback may be left out: there is a promise then.
 *
 * @throws {TypeError} for an option that is missing or wrong
 */
export function protectSessionStore<Store extends ProtectableSessionStore> (store: Store, revocations: Pick<RevocationStore, 'check' | 'revoke'>, options: ProtectSessionStoreOptions = {}): Store & SessionStoreWithoutCallbacks {
  const plugin = 'protectSessionStore'
  assertOption(store !== undefined && store !== null, plugin, 'store', 'is missing: pass the session store to protect')
  assertFunctions(store, plugin, ['get', 'set', 'destroy'])
  assertOption(typeof revocations?.check === 'function' && typeof revocations.revoke === 'function', plugin, 'revocations', 'is missing: pass a revocation store, redisRevocationStore(redis) for instance')
  assertFunctions(options, plugin, ['credential'])
  const lifetime = duration(options.lifetime, 86_400_000, plugin, 'lifetime')
  const timeout = duration(options.timeout, 5000, plugin, 'timeout')
  const { credential = () => ({}) } = options
  const inner = store as unknown as AnyStore
  const revoke = revokeWithin(revocations, timeout, plugin)
  const check = checkWithin(revocations, timeout, plugin)
  const verdictOn = async (id: string, session: unknown): Promise<Verdict> => {
    try {
      return await check({ ...credential(session as Record<string, unknown>), sessionId: sessionMarkId(id) })
    } catch (cause) {
      throw unknownError(cause)
    }
  }

  const own: AnyStore = {
    get: (id, callback) => answering(callback, callback => {
      return inner.get(id, (error, session) => {
        if (error || !session) return callback(error, session)
        verdictOn(id, session).then(verdict => verdict === 'live' ? session : null).then(...settling(callback))
      })
    }),

    set: (id, session, callback) => answering(callback, callback => {
      if (maxAgeOf(session) > lifetime) return callback(new TypeError(`${plugin}: option "lifetime" must not be shorter than the cookie's maxAge`))
      return inner.set(id, session, error => {
        if (error) return callback(error)
        // No request finds a revoked session: that it is also removed is tidiness, and may fail.
        verdictOn(id, session).then(
          verdict => { verdict === 'live' ? later(callback) : inner.destroy(id, () => later(callback)) },
          () => later(callback)
        )
      })
    }),

    destroy: (id, callback) => answering(callback, callback => {
      const mark = { sessionId: sessionMarkId(id), until: Math.ceil(Date.now() + lifetime + slowestRequest) }
      const markThenDestroy = async () => {
        await revoke(mark)
        await new Promise<void>((resolve, reject) => {
          inner.destroy(id, error => { error ? reject(error) : resolve() })
        })
      }
      markThenDestroy().then(...settling(callback))
    })
  }
  // Inheriting keeps what callers of a store of express-session rely on: events, `generate`, `regenerate`.
  return Object.assign(Object.create(store), forwarders(store), own)
}

/** The methods that are the store's own affair run on the store itself: it may keep its state in private fields. */
function forwarders (store: object): object {
  const methods = store as Record<string, ((...values: unknown[]) => unknown) | undefined>
  const names = ['touch', 'all', 'ids', 'length', 'clear'].filter(name => typeof methods[name] === 'function')
  return Object.fromEntries(names.map(name => [name, (...values: unknown[]) => methods[name]?.(...values)]))
}

/** The session id in marks: the store's own id opens the session, so it is kept as a digest. */
export function sessionMarkId (sessionId: string): string {
  return tokenDigest(sessionId)
}

/** express-session gives no callback when its user gave none. A promise that nobody asked for must not end the process. */
function answering (callback: Callback | undefined, work: (callback: Callback) => unknown): unknown {
  if (callback !== undefined) return work(callback)
  const answer = new Promise((resolve, reject) => work((error, value) => { error ? reject(error) : resolve(value) }))
  answer.catch(() => {})
  return answer
}

function settling (callback: Callback): [(value: unknown) => void, (error: unknown) => void] {
  return [value => later(callback, null, value), error => later(callback, error)]
}

/** What a callback throws is its caller's affair, and no rejection of ours. */
function later (callback: Callback, ...values: unknown[]): void {
  setImmediate(() => { callback(...values) })
}

function maxAgeOf (session: unknown): number {
  const { cookie } = session as { cookie?: { originalMaxAge?: number | null } }
  return cookie?.originalMaxAge ?? 0
}
