import { cutoffOf, isCutOff } from '../internal/marks/cutoff.ts'
import { markId } from '../internal/marks/id.ts'
import type { Credential, Mark, RevocationSource, RevocationStore } from '../revocation-store.ts'

/** What is asked of a WebSocket: of `ws`, and so of @fastify/websocket. */
export interface ClosableSocket {
  /** Begins the closing handshake. */
  close (code: number, reason: string): void
  /** Cuts the connection without waiting for the client. */
  terminate (): void
  /** Tells when the connection is closed, by whomever. */
  once (event: 'close', listener: () => void): unknown
}

/** What is asked of a stream of server-sent events: a writable, `reply.raw` for instance. */
export interface EndableStream {
  /** Ends the stream after what is already written. */
  end (): unknown
  /** Tells when the stream is closed, by whomever. */
  once (event: 'close', listener: () => void): unknown
}

/** Connections that stay open longer than a request, and the credentials that opened them. */
export interface LiveConnections {
  /** Closes this WebSocket with 3000 (Unauthorized) when its credential is revoked, and cuts it a second later if the client does not follow. */
  watchSocket (socket: ClosableSocket, facts: Credential): void
  /** Ends this stream when its credential is revoked. */
  watchStream (stream: EndableStream, facts: Credential): void
  /** Calls `end` once when the credential is revoked. Answers with the way to forget it. */
  watch (facts: Credential, end: () => void): () => void
  /** How many are watched. */
  count (): number
  /** Watches no more. Nothing is closed by it. */
  close (): void
}

interface Watched { readonly facts: Credential, readonly end: () => void }

/**
 * Ends open connections when what opened them is revoked, on whichever node that happens.
 *
 * @param revocations A replica, or the memory store: something that tells of marks as they come. A connection is also
 * checked once when it is watched, so that no mark is missed between its request and then.
 */
export function liveConnections (revocations: RevocationSource & Pick<RevocationStore, 'check'>): LiveConnections {
  const watched = new Map<string, Set<Watched>>()
  let count = 0

  const forget = (one: Watched) => {
    const known = keysOf(one.facts).filter(key => removeFrom(watched, key, one))
    if (known.length > 0) count--
    return known.length > 0
  }
  const end = (one: Watched) => {
    if (forget(one)) one.end()
  }
  const stop = revocations.onRevoked(mark => {
    for (const one of [...watched.get(keyOfMark(mark)) ?? []].filter(({ facts }) => covers(mark, facts))) end(one)
  })

  const watch = (facts: Credential, endIt: () => void) => {
    const one: Watched = { facts, end: endIt }
    const keys = keysOf(facts)
    if (keys.length === 0) throw new TypeError('liveConnections: the facts need a token id, a session id or a subject')
    for (const key of keys) watched.set(key, (watched.get(key) ?? new Set()).add(one))
    count++
    // Whether it can be told or not, a mark that comes later is heard of.
    Promise.resolve().then(() => revocations.check(facts)).then(verdict => { if (verdict === 'revoked') end(one) }, () => {})
    return () => { forget(one) }
  }

  return {
    watch,
    watchSocket (socket, facts) {
      socket.once('close', watch(facts, () => {
        socket.close(3000, 'revoked')
        const timer = setTimeout(() => socket.terminate(), 1000)
        timer.unref()
        socket.once('close', () => clearTimeout(timer))
      }))
    },
    watchStream (stream, facts) {
      stream.once('close', watch(facts, () => { stream.end() }))
    },
    count: () => count,
    close () {
      stop()
      watched.clear()
      count = 0
    }
  }
}

function keysOf ({ tokenId, sessionId, subject }: Credential): string[] {
  return [tokenId === undefined ? '' : `t${markId(tokenId)}`, sessionId === undefined ? '' : `s${markId(sessionId)}`, subject === undefined ? '' : `u${markId(subject)}`].filter(key => key !== '')
}

function keyOfMark (mark: Mark): string {
  if ('tokenId' in mark) return `t${markId(mark.tokenId)}`
  return 'sessionId' in mark ? `s${markId(mark.sessionId)}` : `u${markId(mark.subject)}`
}

function covers (mark: Mark, facts: Credential): boolean {
  if (!('subject' in mark)) return true
  const sameTenant = mark.tenant === undefined || (facts.tenant !== undefined && markId(mark.tenant) === markId(facts.tenant))
  return sameTenant && isCutOff(cutoffOf(mark), facts, Date.now())
}

function removeFrom (watched: Map<string, Set<Watched>>, key: string, one: Watched): boolean {
  const set = watched.get(key)
  const removed = set?.delete(one) === true
  if (set?.size === 0) watched.delete(key)
  return removed
}
