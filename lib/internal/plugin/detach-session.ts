import type { FastifyRequest } from 'fastify'
import type { Ask } from './ask.ts'

/** The parts of a request that `@fastify/session` sets. */
interface SessionRequest {
  session: unknown
  readonly sessionStore: {
    get (sessionId: string, callback: (error: unknown, session?: unknown) => void): unknown
  }
}

/**
 * The id of the session that `@fastify/session` gave this request. `undefined` without that plugin, outside its cookie's
 * path, and after the session was destroyed or detached. Sessions of `@fastify/secure-session` have no id.
 */
export function hostSessionId (request: FastifyRequest): string | undefined {
  const { session } = request as Partial<SessionRequest>
  if (typeof session !== 'object' || session === null) return undefined
  const { sessionId, encryptedSessionId } = session as { readonly sessionId?: unknown, readonly encryptedSessionId?: unknown }
  return typeof sessionId === 'string' && typeof encryptedSessionId === 'string' ? sessionId : undefined
}

/**
 * Replaces the request's `@fastify/session` session, if it has this id, with an empty one that is never saved.
 *
 * `@fastify/session` saves `request.session` in its `onSend` hook and sets the session cookie again: by default after
 * every request, so a session that the handler has logged out would be back before the response is sent. Call this before
 * the session store is asked to end the session: a logout that fails or comes late must not be undone either.
 *
 * @see https://github.com/fastify/session#rolling-optional
 */
export function detachSession (request: FastifyRequest, sessionId: string): void {
  if (hostSessionId(request) === sessionId) replaceSession(request)
}

/**
 * Detaches the request's `@fastify/session` session if the plugin's store no longer has it, or cannot tell. For flows that
 * end sessions by their public id or subject: they do not know whether this request's session was among them.
 */
export async function detachEndedSession (request: FastifyRequest, ask: Ask): Promise<void> {
  const sessionId = hostSessionId(request)
  if (sessionId === undefined) return
  const { sessionStore } = request as unknown as SessionRequest
  try {
    if (await ask('request.sessionStore.get', () => stored(sessionStore, sessionId))) return
  } catch (error) {
    const message = 'request.session is not saved: its store could not tell whether it still exists'
    request.log.warn({ err: error, event: 'logout.session-unknown' }, message)
  }
  replaceSession(request)
}

/** Stores of files report a missing session as ENOENT, which `@fastify/session` takes for "no session" too. */
function stored (store: SessionRequest['sessionStore'], sessionId: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    store.get(sessionId, (error, session) => {
      if (error && (error as { readonly code?: unknown }).code !== 'ENOENT') reject(error)
      else resolve(Boolean(session) && !error)
    })
  })
}

function replaceSession (request: FastifyRequest): void {
  (request as unknown as SessionRequest).session = detachedSession()
}

type Done = (error?: unknown) => void

/**
 * A session without an id, which `@fastify/session` neither saves nor sends. Hooks of the host can read and write it as
 * before. Its methods are not enumerable, so that code which lists or copies its members finds none.
 */
function detachedSession (): object {
  const session: Record<string, unknown> = {}
  const finish = (...parameters: unknown[]): unknown => {
    const done = parameters.find(parameter => typeof parameter === 'function') as Done | undefined
    return done === undefined ? Promise.resolve() : done()
  }
  const methods = {
    get: (key: string) => session[key],
    set: (key: string, value: unknown) => { session[key] = value },
    touch: () => {},
    options: () => {},
    isModified: () => false,
    isSaved: () => false,
    save: finish,
    reload: finish,
    destroy: finish,
    regenerate: finish,
    cookie: {}
  }
  for (const [name, value] of Object.entries(methods)) Object.defineProperty(session, name, { value, writable: true, configurable: true })
  return session
}
