import type { Awaitable } from '../../awaitable.ts'

/** Sessions that are about to end. */
export type SessionsEnd =
  | { readonly scope: 'session', readonly session: EndingSession }
  | { readonly scope: 'others' | 'all', readonly subject: string, readonly tenant?: string | undefined }

/** A session that is about to end. */
export interface EndingSession {
  readonly id: string | number
  /** Not there if an administrator ends a session by its id alone. */
  readonly subject?: string | number | undefined
  readonly tenant?: string | undefined
}

/** A session store or a session source, as far as it ends sessions. */
export interface EndingSessions {
  /** The session of a token or a request. */
  find? (key: never): Awaitable<EndingSession | undefined | null>
  /** Ends the session of a token or a request. */
  logOut (key: never): Awaitable<unknown>
  /** Ends a session by its public id. */
  logOutById? (query: never): Awaitable<unknown>
  /** Ends the sessions of a subject. */
  logOutSubject? (query: never, request?: never): Awaitable<unknown>
}

/** See `notifyFirst`. */
export function notifyingFirst<Sessions extends EndingSessions> (
  sessions: Sessions, notify: (event: SessionsEnd) => Awaitable<unknown>
): Sessions {
  if (typeof sessions?.find !== 'function') throw new TypeError('notifyFirst: the sessions need the method "find"')
  if (typeof notify !== 'function') throw new TypeError('notifyFirst: the second argument must be a function')
  const overrides = Object.entries(endings(sessions, notify)).filter(([name]) => typeof sessions[name as keyof Sessions] === 'function')
  return withMethods(sessions, new Map(overrides))
}

function endings (sessions: EndingSessions, notify: (event: SessionsEnd) => Awaitable<unknown>) {
  return {
    async logOut (key: never) {
      const session = await sessions.find?.(key)
      if (session) await notify({ scope: 'session', session })
      return sessions.logOut(key)
    },

    async logOutById (query: { readonly id: string, readonly subject?: string }) {
      const { id, subject } = query
      await notify({ scope: 'session', session: { id, ...subject !== undefined && { subject } } })
      return sessions.logOutById?.(query as never)
    },

    async logOutSubject (query: { readonly subject: string, readonly tenant?: string, readonly except?: unknown }, request: never) {
      const { subject, tenant, except } = query
      await notify({ scope: except === undefined ? 'all' : 'others', subject, ...tenant !== undefined && { tenant } })
      return sessions.logOutSubject?.(query as never, request)
    }
  }
}

/** The object, with other methods. Its own methods keep their `this`. */
function withMethods<T extends object> (object: T, methods: ReadonlyMap<string, unknown>): T {
  return new Proxy(object, {
    get (target, name) {
      const method = typeof name === 'string' ? methods.get(name) : undefined
      if (method !== undefined) return method
      const value: unknown = Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    }
  })
}
