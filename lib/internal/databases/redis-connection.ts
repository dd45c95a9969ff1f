import {
  listOf, ownScripts, replyOf, textOf, type IoredisLike, type NodeRedisLike, type RedisClient, type Reply, type RunScript
} from './redis.ts'

/** A connection that nobody else uses, so that its commands may wait at the server. */
export interface RedisConnection {
  /** Prepares a script to be run on this connection. */
  script (lua: string): RunScript
  /** Resolves the entries of a stream behind one of them, and waits for the first of them if there is none. */
  readStream (read: StreamRead): Promise<readonly StreamEntry[]>
  /** Closes at once, whatever state it is in. */
  end (): void
}

/** Which entries {@link RedisConnection} reads. */
export interface StreamRead {
  readonly key: string
  /** The id of the entry behind which they are. */
  readonly after: string
  /** How many at most. */
  readonly count: number
  /** How long to wait for the first one, in milliseconds. */
  readonly wait: number
}

/** An entry of a stream. */
export interface StreamEntry {
  readonly id: string
  readonly fields: Readonly<Record<string, string>>
}

/** Reads entries as a script gives them: pairs of an id and a list of fields. */
export function streamEntries (reply: Reply | undefined): StreamEntry[] {
  return listOf(reply).map(entry => {
    const [id, fields] = listOf(entry)
    return { id: textOf(id), fields: fieldsOf(listOf(fields)) }
  })
}

/** Whether a client can open another connection like its own. A pool of node-redis cannot. */
export function canDuplicate (client: RedisClient): boolean {
  return typeof (client as Partial<Duplicable>).duplicate === 'function'
}

/**
 * Opens another connection with the settings of the host's client, except for those that make it give up: a command that
 * waits at the server looks like a server that does not answer. A lost connection is not opened again.
 */
export function openRedisConnection (client: RedisClient, caller: string): RedisConnection {
  return 'evalSha' in client
    ? openNodeRedis(client as NodeRedisLike & Duplicable, caller)
    : openIoredis(client as IoredisLike & Duplicable, caller)
}

interface Duplicable {
  duplicate (...overrides: readonly unknown[]): unknown
  readonly isCluster?: boolean
  readonly options?: { readonly socket?: object, readonly redisOptions?: object }
}

interface IoredisConnection extends IoredisLike {
  on (event: 'error', listener: () => void): unknown
  call (command: string, ...values: string[]): Promise<unknown>
  disconnect (): void
}

interface NodeRedisConnection extends NodeRedisLike {
  on (event: 'error', listener: () => void): unknown
  connect (): Promise<unknown>
  xRead (stream: { key: string, id: string }, options: { COUNT: number, BLOCK: number }): Promise<unknown>
  destroy (): void
}

function openIoredis (client: IoredisLike & Duplicable, caller: string): RedisConnection {
  const patient = { enableOfflineQueue: true, commandTimeout: undefined, socketTimeout: undefined, blockingTimeout: undefined }
  const redisOptions = { ...client.options?.redisOptions, ...patient }
  const connection = (client.isCluster === true
    ? client.duplicate([], { enableOfflineQueue: true, scaleReads: 'master', redisOptions })
    : client.duplicate({ ...patient, lazyConnect: false, enableAutoPipelining: false, retryStrategy: null })) as IoredisConnection
  ignoreErrors(connection)
  return {
    script: ownScripts(connection, caller),
    async readStream ({ key, after, count, wait }) {
      const reply = replyOf(await connection.call('XREAD', 'COUNT', `${count}`, 'BLOCK', `${wait}`, 'STREAMS', key, after))
      if (reply === null) return []
      // RESP 2 has a list of pairs of a stream and its entries, RESP 3 a map.
      const [stream, entries] = listOf(reply)
      return streamEntries(typeof stream === 'string' ? entries : listOf(stream)[1])
    },
    end: () => connection.disconnect()
  }
}

function openNodeRedis (client: NodeRedisLike & Duplicable, caller: string): RedisConnection {
  const socket = client.options?.socket && { socket: { ...client.options.socket, reconnectStrategy: false, socketTimeout: undefined } }
  const patient = { disableOfflineQueue: false, useReplicas: false, clientSideCache: undefined, commandOptions: { timeout: undefined } }
  const connection = client.duplicate({ ...patient, ...socket }) as NodeRedisConnection
  ignoreErrors(connection)
  const connected = connection.connect()
  connected.catch(() => {})
  const scripts = ownScripts(connection, caller)
  return {
    script (lua) {
      const run = scripts(lua)
      return async (keys, ...values) => {
        await connected
        return run(keys, ...values)
      }
    },
    async readStream ({ key, after, count, wait }) {
      await connected
      const reply = replyOf(await connection.xRead({ key, id: after }, { COUNT: count, BLOCK: wait }))
      return reply === null ? [] : messagesOf(listOf(reply)[0])
    },
    end: () => { destroy(connection) }
  }
}

/** The messages of a stream, as node-redis gives them: objects with names. */
function messagesOf (stream: Reply | undefined): StreamEntry[] {
  return listOf(member(stream, 'messages')).map(message => ({
    id: textOf(member(message, 'id')),
    fields: fieldsOf(listOf(member(message, 'message')))
  }))
}

/** A lost connection shows in the next command. Without a listener, its event would end the process. */
function ignoreErrors (connection: { on (event: 'error', listener: () => void): unknown }): void {
  connection.on('error', () => {})
}

function destroy (connection: NodeRedisConnection): void {
  try {
    connection.destroy()
  } catch {
    // It has already given up by itself.
  }
}

/** A member of an object, which has become a list of names and values. */
function member (object: Reply | undefined, name: string): Reply | undefined {
  const list = listOf(object)
  return list[list.indexOf(name) + 1]
}

function fieldsOf (flat: readonly Reply[]): Record<string, string> {
  return Object.fromEntries(flat.flatMap((name, index) => index % 2 === 0 ? [[textOf(name), textOf(flat[index + 1])]] : []))
}
