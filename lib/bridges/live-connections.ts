import { setTimeout as sleep } from 'node:timers/promises'
import type { Awaitable } from '../awaitable.ts'
import { attempt, warn } from '../internal/marks/listeners.ts'
import { isRevokedBy, questionOf, rowOfMark, type MarkQuestion } from '../internal/marks/row.ts'
import { checkWithin } from '../internal/revocation/check.ts'
import type { Credential, Mark, RevocationSource, RevocationStore, Verdict } from '../revocation-store.ts'

/** The part of a WebSocket that {@link liveConnections} uses: of `ws`, and so of @fastify/websocket. */
export interface ClosableSocket {
  /** Begins the closing handshake. */
  close (code: number, reason: string): void
  /** Cuts the connection without waiting for the client. */
  terminate (): void
  /** Calls the listener once when either side closes the connection. */
  once (event: 'close', listener: () => void): unknown
  /** Calls the listener with each error of the connection. */
  on (event: 'error', listener: () => void): unknown
  /** Delivers an event to the host: `message` no more once the credential is revoked. */
  emit (event: string | symbol, ...values: unknown[]): boolean
  /** 3 if the connection is already closed. */
  readonly readyState: number
}

/** The part of a stream of server-sent events that {@link liveConnections} uses: a writable, for example `reply.raw`. */
export interface EndableStream {
  /** Ends the stream after what is already written. */
  end (): unknown
  /** Cuts the stream, whatever is written. */
  destroy (): unknown
  /** Calls the listener once when either side closes the stream. */
  once (event: 'close', listener: () => void): unknown
  /** Calls the listener with each error of the stream. */
  on (event: 'error', listener: () => void): unknown
  /** Whether the stream is already closed. */
  readonly destroyed?: boolean | undefined
  /** The stream of a response over HTTP/2. */
  readonly stream?: { readonly destroyed?: boolean | undefined } | undefined
}

/** Connections that stay open longer than a request, and the credentials that opened them. */
export interface LiveConnections {
  /**
   * Closes this WebSocket with 3000 (Unauthorized) when its credential is revoked. From then on the host gets no message of
   * it, and a second later it is cut if the client has not closed it.
   */
  watchSocket (socket: ClosableSocket, credential: Credential): void
  /** Ends this stream when its credential is revoked, and cuts it a second later if the client has not read it to its end. */
  watchStream (stream: EndableStream, credential: Credential): void
  /** Calls `end` once when the credential is revoked. Returns a function that forgets the connection. */
  watch (credential: Credential, end: () => void): () => void
  /** The number of connections that are watched. */
  count (): number
  /** Watches no more. Closes no connection. */
  close (): void
}

/**
 * Ends open connections when the credentials that opened them are revoked, on whichever node that happens.
 *
 * A connection is also checked once when it is watched, and again until the store could tell, so that no mark is missed
 * between its request and then. Errors of a watched connection never end the process, and errors of `end` are warnings of
 * the process.
 *
 * @param revocations A replica, or the memory store: something that reports marks as they come
 * @throws {TypeError} for anything else; `watch...` throw one for a credential without any id
 *
 * @example
 * ```ts
 * import fastifyWebsocket from '@fastify/websocket'
 * import fastify from 'fastify'
 * import type { Credential } from 'fastify-logout'
 * import { liveConnections } from 'fastify-logout/bridges/live-connections'
 * import { memoryRevocationStore } from 'fastify-logout/revocation-stores/memory'
 *
 * const app = fastify()
 * app.decorateRequest('credential', null) // your authentication fills it
 * const live = liveConnections(memoryRevocationStore())
 * await app.register(fastifyWebsocket)
 * app.get('/chat', { websocket: true }, (socket, request) => {
 *   live.watchSocket(socket, request.getDecorator<Credential>('credential'))
 * })
 * ```
 */
export function liveConnections (revocations: RevocationSource & Pick<RevocationStore, 'check'>): LiveConnections {
  if (typeof revocations?.onRevoked !== 'function' || typeof revocations.check !== 'function') {
    throw new TypeError(`${caller}: pass a replica or the memory store, which report marks as they come`)
  }
  const { watch, count, close } = watching(revocations)

  return {
    watch,
    watchSocket (socket, credential) {
      socket.on('error', ignore)
      if (socket.readyState !== closed) socket.once('close', watch(credential, () => { endSocket(socket) }))
    },
    watchStream (stream, credential) {
      stream.on('error', ignore)
      if (!isClosed(stream)) stream.once('close', watch(credential, () => { endStream(stream) }))
    },
    count,
    close
  }
}

const caller = 'liveConnections'
/** `WebSocket.CLOSED` */
const closed = 3
const ignore = () => {}

function isClosed ({ destroyed, stream }: EndableStream): boolean {
  return destroyed === true || stream?.destroyed === true
}

/** Data that the client sends before it has closed reaches no listener, either. */
function endSocket (socket: ClosableSocket): void {
  const { emit } = socket
  socket.emit = (event, ...values) => event !== 'message' && emit.call(socket, event, ...values)
  politely(socket, () => socket.close(3000, 'revoked'), () => socket.terminate())
}

function endStream (stream: EndableStream): void {
  politely(stream, () => stream.end(), () => stream.destroy())
}

/** Ends a connection, and cuts it if that fails, or if it is still open a second later. */
function politely (connection: Pick<EndableStream, 'once'>, end: () => unknown, cut: () => unknown): void {
  const timer = setTimeout(() => attempt(cut, warn), 1000)
  timer.unref()
  connection.once('close', () => clearTimeout(timer))
  attempt(end, () => attempt(cut, warn))
}

interface Watched {
  readonly credential: Credential
  readonly question: MarkQuestion
  readonly end: () => void
}

function watching (revocations: RevocationSource & Pick<RevocationStore, 'check'>): Pick<LiveConnections, 'watch' | 'count' | 'close'> {
  const check = checkWithin(revocations, 5000, caller)
  const watched = watchedConnections()
  const end = (one: Watched) => {
    if (watched.remove(one)) attempt(one.end, warn)
  }
  const endIfRevoked = async (one: Watched) => {
    if (await verdictWhile(() => watched.has(one), () => check(one.credential)) === 'revoked') end(one)
  }
  const stop = revocations.onRevoked(mark => {
    for (const one of watched.coveredBy(mark)) end(one)
  })

  return {
    watch (credential, endIt) {
      const one: Watched = { credential, question: questionOf(credential), end: endIt }
      if (one.question.ids.length === 0) throw new TypeError(`${caller}: the credential needs a token id, a session id or a subject`)
      watched.add(one)
      // After this turn, in which the host may still forget it.
      Promise.resolve(one).then(endIfRevoked)
      return () => { watched.remove(one) }
    },
    count: watched.count,
    close () {
      stop()
      watched.clear()
    }
  }
}

/** Checks until the store answers, with growing pauses, as long as the verdict is needed. */
async function verdictWhile (isNeeded: () => boolean, check: () => Awaitable<Verdict>): Promise<Verdict | undefined> {
  for (let pause = 100; isNeeded(); pause = Math.min(2 * pause, 10_000)) {
    try {
      return await check()
    } catch {
      await sleep(pause * (0.5 + Math.random()), undefined, { ref: false })
    }
  }
  return undefined
}

/** The connections that are watched, by each id of their credentials. */
function watchedConnections () {
  const byId = new Map<string, Set<Watched>>()
  const all = new Set<Watched>()

  return {
    add (one: Watched) {
      all.add(one)
      for (const id of one.question.ids) byId.set(id, (byId.get(id) ?? new Set()).add(one))
    },
    remove (one: Watched): boolean {
      for (const id of one.question.ids) {
        const sameId = byId.get(id)
        if (sameId?.delete(one) === true && sameId.size === 0) byId.delete(id)
      }
      return all.delete(one)
    },
    coveredBy (mark: Mark): Watched[] {
      const row = rowOfMark(mark)
      const now = Date.now()
      return [...byId.get(row.id) ?? []].filter(({ question }) => isRevokedBy(row, question, now))
    },
    has: (one: Watched) => all.has(one),
    count: () => all.size,
    clear () {
      byId.clear()
      all.clear()
    }
  }
}
