import {
  isClusterClient, listOf, ownScripts, textOf, type IoredisLike, type NodeRedisLike, type RedisClient, type Reply, type RunScript
} from './redis.ts'

/** A connection that nobody else uses, and another one on which messages come. */
export interface RedisConnection {
  /** Prepares a script to be run on this connection. */
  script (lua: string): RunScript
  /** Listens to a channel. Resolves once the server has confirmed it. */
  subscribe (channel: string, subscriber: Subscriber): Promise<void>
  /** Closes both at once, whatever state they are in. */
  end (): void
}

/** Who listens to a channel. */
export interface Subscriber {
  /** Called with each message. */
  onMessage (message: string): void
  /** Called when the connection on which messages come is lost. */
  onEnd (): void
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
 * Opens another connection with the settings of the host's client, except for those that make it give up: a connection that
 * waits for messages looks like a server that does not answer. A lost connection is not opened again.
 */
export function openRedisConnection (client: RedisClient, caller: string): RedisConnection {
  const duplicable = client as RedisClient & Duplicable
  return 'evalSha' in duplicable ? openNodeRedis(duplicable, caller) : openIoredis(duplicable, caller)
}

interface Duplicable {
  duplicate (...overrides: readonly unknown[]): unknown
  readonly isCluster?: boolean
  readonly options?: { readonly socket?: object, readonly redisOptions?: object }
}

interface EventSource {
  on (event: 'error', listener: () => void): unknown
}

interface IoredisConnection extends IoredisLike {
  on (event: 'error' | 'end', listener: () => void): unknown
  on (event: 'message', listener: (channel: unknown, message: unknown) => void): unknown
  subscribe (channel: string): Promise<unknown>
  disconnect (): void
}

interface NodeRedisConnection extends NodeRedisLike {
  on (event: 'error' | 'terminated', listener: () => void): unknown
  connect (): Promise<unknown>
  subscribe (channel: string, listener: (message: unknown) => void): Promise<void>
  destroy (): void
}

function openIoredis (client: IoredisLike & Duplicable, caller: string): RedisConnection {
  const patient = { enableOfflineQueue: true, commandTimeout: undefined, socketTimeout: undefined, blockingTimeout: undefined }
  const alone = { ...patient, lazyConnect: false, enableAutoPipelining: false, retryStrategy: null }
  const redisOptions = { ...client.options?.redisOptions, ...patient }
  const connections = openConnections(() => (client.isCluster === true
    ? client.duplicate([], { enableOfflineQueue: true, scaleReads: 'master', redisOptions })
    : client.duplicate(alone)) as IoredisConnection, connection => connection.disconnect())
  const own = connections.open()
  return {
    script: ownScripts(own, caller),
    async subscribe (channel, { onMessage, onEnd }) {
      // A cluster client has a connection of its own for messages.
      const connection = client.isCluster === true ? own : connections.open()
      connection.on('message', (_, message) => onMessage(String(message)))
      connection.on('end', onEnd)
      await connection.subscribe(channel)
    },
    end: connections.end
  }
}

function openNodeRedis (client: NodeRedisLike & Duplicable, caller: string): RedisConnection {
  const socket = client.options?.socket && { socket: { ...client.options.socket, reconnectStrategy: false, socketTimeout: undefined } }
  const patient = { disableOfflineQueue: false, useReplicas: false, clientSideCache: undefined, commandOptions: { timeout: undefined } }
  const connections = openConnections(() => client.duplicate({ ...patient, ...socket }) as NodeRedisConnection, destroy)
  const own = connections.open()
  const connected = own.connect()
  connected.catch(() => {})
  const scripts = ownScripts(own, caller)
  return {
    script (lua) {
      const run = scripts(lua)
      return async (keys, ...values) => {
        await connected
        return run(keys, ...values)
      }
    },
    async subscribe (channel, { onMessage, onEnd }) {
      const onText = (message: unknown) => onMessage(String(message))
      // A cluster client has a connection of its own for messages, and connects again by itself.
      if (isClusterClient(client)) return own.subscribe(channel, onText)
      const connection = connections.open()
      connection.on('error', onEnd)
      connection.on('terminated', onEnd)
      await connection.connect()
      await connection.subscribe(channel, onText)
    },
    end: connections.end
  }
}

/** Opens connections, and closes all of them. After that it opens none. */
function openConnections<Connection extends EventSource> (connect: () => Connection, disconnect: (connection: Connection) => void) {
  const connections: Connection[] = []
  let hasEnded = false
  return {
    open (): Connection {
      if (hasEnded) throw new Error('the connection was closed')
      const connection = connect()
      // A lost connection shows in the next command. Without a listener, its event would end the process.
      connection.on('error', () => {})
      connections.push(connection)
      return connection
    },
    end (): void {
      hasEnded = true
      for (const connection of connections) disconnect(connection)
    }
  }
}

function destroy (connection: NodeRedisConnection): void {
  try {
    connection.destroy()
  } catch {
    // It has already given up by itself.
  }
}

function fieldsOf (flat: readonly Reply[]): Record<string, string> {
  return Object.fromEntries(flat.flatMap((name, index) => index % 2 === 0 ? [[textOf(name), textOf(flat[index + 1])]] : []))
}
