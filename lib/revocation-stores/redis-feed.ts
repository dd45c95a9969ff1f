import { markOfRow, type MarkRow } from '../internal/marks/row.ts'
import { revocationKeys, rowsOfText } from '../internal/marks/redis.ts'
import type { FeedPage, Mark, RevocationFeed } from '../revocation-store.ts'

/** What is asked of the host's client, of ioredis, iovalkey or node-redis: another connection like it. */
export interface RedisDuplicator {
  /** A new connection with the same settings. The feed closes it. */
  duplicate (): RedisConnection
}

/** A connection of our own. */
export type RedisConnection = IoredisConnection | NodeRedisConnection | NodeRedisClusterConnection

/** What is asked of a connection of ioredis or iovalkey, also to a cluster. */
export interface IoredisConnection {
  /** Tells of a connection that is lost. */
  on (event: 'error', listener: () => void): unknown
  /** Sends one command. */
  call (command: string, ...values: string[]): Promise<unknown>
  /** Closes at once, and does not connect again. */
  disconnect (): void
}

/** What is asked of a connection of node-redis. */
export interface NodeRedisConnection {
  /** Tells of a connection that is lost. */
  on (event: 'error', listener: () => void): unknown
  /** Connects: a new client has not yet. */
  connect (): Promise<unknown>
  /** Sends one command. */
  sendCommand (command: string[]): Promise<unknown>
  /** Closes at once, and does not connect again. */
  destroy (): void
}

/** What is asked of a connection of node-redis to a cluster. */
export interface NodeRedisClusterConnection extends Omit<NodeRedisConnection, 'sendCommand'> {
  /** Sends one command to the server that has this key. */
  sendCommand (key: string, isReadonly: boolean, command: string[]): Promise<unknown>
  /** By this it is known. */
  nodeClient: unknown
}

/** Which store {@link redisRevocationFeed} follows, and in what steps. */
export interface RedisRevocationFeedOptions {
  /** The prefix of the store. @default 'logout-revocation' */
  readonly prefix?: string | undefined
  /** About how many marks are read at once. @default 1000 */
  readonly pageSize?: number | undefined
}

/**
 * Follows the marks of a `redisRevocationStore`, on a connection of its own (`duplicate()`), which waits at the store's
 * stream. Each entry of the stream names the one before it, so a cut, a trimmed stream, a server that lost its data
 * and a failover that lost the last entries all show as a gap; every live mark is loaded again then.
 *
 * @param redis A client of ioredis, iovalkey or node-redis, cluster clients included. It is never closed, and no command is sent through it.
 * @throws {TypeError} when the client has no `duplicate`, or an option is wrong.
 */
export function redisRevocationFeed (redis: RedisDuplicator, options: RedisRevocationFeedOptions = {}): RevocationFeed {
  const { pageSize = 1000 } = options
  const caller = 'redisRevocationFeed'
  const keys = revocationKeys(options.prefix, caller)
  if (typeof (redis as RedisDuplicator | undefined)?.duplicate !== 'function') throw new TypeError(`${caller}: pass a client of ioredis, iovalkey or node-redis`)
  if (!(Number.isInteger(pageSize) && pageSize > 0)) throw new TypeError(`${caller}: pageSize must be a positive integer`)
  let open: { readonly send: Promise<Send>, readonly end: () => void } | undefined

  return {
    async next (position, timeout) {
      open ??= connect(redis.duplicate(), keys.feed)
      const send = await open.send
      if (position === undefined) return { marks: [], position: scanning('0', await lastEntry(send, keys.feed)), complete: false }
      const [command, cursor, entry] = position.split(' ') as [string, string, string]
      if (command === 'HSCAN') return scan(send, keys, { cursor, entry }, pageSize)
      return read(send, keys.feed, { position, pageSize, timeout })
    },

    close () {
      open?.end()
      open = undefined
    }
  }
}

type Send = (...command: string[]) => Promise<unknown>

function connect (connection: RedisConnection, key: string): { send: Promise<Send>, end: () => void } {
  // Without a listener, an error of the connection would end the process.
  connection.on('error', () => {})
  if ('sendCommand' in connection && 'destroy' in connection) {
    // All keys of a store are on one server of a cluster; its replicas may lag behind it.
    const ask: Send = 'nodeClient' in connection ? (...command) => connection.sendCommand(key, false, command) : (...command) => connection.sendCommand(command)
    const send = connection.connect().then(() => ask)
    return { send, end: () => destroy(connection) }
  }
  return { send: Promise.resolve((command, ...values) => connection.call(command, ...values)), end: () => connection.disconnect() }
}

function destroy (connection: Pick<NodeRedisConnection, 'destroy'>): void {
  try {
    connection.destroy()
  } catch {
    // It has already given up by itself.
  }
}

async function lastEntry (send: Send, feed: string): Promise<string> {
  const [last] = await send('XREVRANGE', feed, '+', '-', 'COUNT', '1') as Array<[string, unknown]>
  return last?.[0] ?? '0-0'
}

function scanning (cursor: string, entry: string): string {
  return `HSCAN ${cursor} ${entry}`
}

/** Every mark that was there before the entry, some at a time; what came since is read behind the entry. */
async function scan (send: Send, keys: ReturnType<typeof revocationKeys>, at: { cursor: string, entry: string }, pageSize: number): Promise<FeedPage> {
  const [next, found] = await send('HSCAN', keys.marks, at.cursor, 'COUNT', `${pageSize}`) as [string, string[]]
  const marks: Mark[] = []
  for (let index = 0; index < found.length; index += 2) marks.push(...rowsOfText(String(found[index]), String(found[index + 1])).map(markOfRow))
  return { marks, position: next === '0' ? at.entry : scanning(next, at.entry), complete: false }
}

async function read (send: Send, feed: string, { position, pageSize, timeout }: { position: string, pageSize: number, timeout: number }): Promise<FeedPage> {
  // BLOCK 0 would wait forever.
  const entries = entriesOf(await send('XREAD', 'COUNT', `${pageSize}`, 'BLOCK', `${Math.max(1, timeout)}`, 'STREAMS', feed, position))
  const [first] = entries
  const last = first === undefined ? await lastEntry(send, feed) : position
  const gap = first === undefined ? isBehind(last, position) : field(first, 'behind') !== position
  if (gap) return { marks: [], position: scanning('0', await lastEntry(send, feed)), complete: false }
  return {
    marks: entries.flatMap(entry => (JSON.parse(field(entry, 'marks')) as MarkRow[]).map(markOfRow)),
    position: entries.at(-1)?.[0] ?? position,
    complete: entries.length < pageSize
  }
}

type Entry = readonly [id: string, fields: readonly string[]]

/** The clients give the one stream as a list of pairs, as a flat list, or as a map. */
function entriesOf (reply: unknown): Entry[] {
  if (reply === null) return []
  return (Array.isArray(reply) ? (Array.isArray(reply[0]) ? reply[0] : reply)[1] : Object.values(reply as object)[0]) as Entry[]
}

function field ([, fields]: Entry, name: string): string {
  return String(fields[fields.indexOf(name) + 1])
}

function isBehind (a: string, b: string): boolean {
  const [aTime, aCount] = a.split('-').map(BigInt) as [bigint, bigint]
  const [bTime, bCount] = b.split('-').map(BigInt) as [bigint, bigint]
  return aTime < bTime || (aTime === bTime && aCount < bCount)
}
