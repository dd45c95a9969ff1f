import { Buffer } from 'node:buffer'
import { hash } from 'node:crypto'
import { redisBacklog, type SendBounded } from './redis-backlog.ts'
import { warnOfMissingTimeout } from './redis-timeout.ts'

/** The methods that are called on a client of ioredis or iovalkey, cluster clients included. */
export interface IoredisLike {
  /** Runs a script that the server knows by this digest. */
  evalsha (digest: string, numberOfKeys: number, ...keysAndArguments: string[]): Promise<unknown>
  /** Runs a script that the server may not know yet. */
  eval (script: string, numberOfKeys: number, ...keysAndArguments: string[]): Promise<unknown>
}

/** The methods that are called on a client of node-redis, cluster clients and pools included. */
export interface NodeRedisLike {
  /** Runs a script that the server knows by this digest. */
  evalSha (digest: string, options: { keys: string[], arguments: string[] }): Promise<unknown>
  /** Runs a script that the server may not know yet. */
  eval (script: string, options: { keys: string[], arguments: string[] }): Promise<unknown>
}

/**
 * A client that the host has: of ioredis, iovalkey or node-redis.
 *
 * Give it `socketTimeout`, for example 5000 milliseconds: without it a connection that fell silent (a cut cable, a firewall
 * that drops packets) stays in use for as long as the operating system waits, which can be 15 minutes. In node-redis it is
 * `socket.socketTimeout`, and needs a `socket.reconnectStrategy`, without which the client never connects again, and a
 * shorter `pingInterval`, so that idle connections stay open.
 */
export type RedisClient = IoredisLike | NodeRedisLike

/**
 * A reply in one form, whatever the client and its options make of it: numbers and bytes are text, and maps are flat
 * lists of keys and values. `null` is Redis' nil.
 */
export type Reply = string | null | readonly Reply[]

/** Runs a script with these keys and arguments. */
export type RunScript = (keys: readonly string[], ...values: string[]) => Promise<Reply>

/** Counts the unanswered calls of each client, whichever stores use it. */
const backlogs = new WeakMap<RedisClient, SendBounded>()

function backlogOf (client: RedisClient): SendBounded {
  const known = backlogs.get(client)
  if (known !== undefined) return known
  const created = redisBacklog()
  backlogs.set(client, created)
  return created
}

/**
 * Prepares Lua scripts for the client of a host: see {@link ownScripts}.
 *
 * Emits a process warning, once for each client, when the client has no timeout for connections that fall silent.
 *
 * @throws {TypeError} when it is none of these clients; `caller` begins the message.
 */
export function redisScripts (client: RedisClient, caller: string): (lua: string) => RunScript {
  const prepare = ownScripts(client, caller)
  warnOfMissingTimeout(client, caller)
  return prepare
}

/**
 * Prepares Lua scripts: `EVALSHA`, so one round trip. Only where the server does not know the script (after its start, or a
 * `SCRIPT FLUSH`), it is sent whole in a second one. What a client keeps for a silent server is bounded.
 *
 * @throws {TypeError} when it is none of these clients; `caller` begins the message.
 */
export function ownScripts (client: RedisClient, caller: string): (lua: string) => RunScript {
  const { run, runWhole } = scripting(client, caller)
  const bounded = backlogOf(client)
  return lua => {
    const digest = hash('sha1', lua)
    return async (keys, ...values) => {
      try {
        return replyOf(await bounded(() => run(digest, keys, values)))
      } catch (error) {
        if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error
        return replyOf(await bounded(() => runWhole(lua, keys, values)))
      }
    }
  }
}

/** Whether it is a cluster client of ioredis, iovalkey or node-redis. */
export function isClusterClient (client: object): boolean {
  return ('isCluster' in client && client.isCluster === true) || ('nodeClient' in client && typeof client.nodeClient === 'function')
}

/**
 * Asks in one of two ways: in one script, or key by key where the keys may be on several servers. Once a server of a
 * cluster refuses a script for its keys, it is asked in the second way, also the next time.
 */
export function oneServerOrCluster<Way> (isCluster: boolean, ways: { readonly oneServer: Way, readonly cluster: Way }) {
  let way = isCluster ? ways.cluster : ways.oneServer
  return async <T>(ask: (way: Way) => Promise<T>): Promise<T> => {
    try {
      return await ask(way)
    } catch (error) {
      if (!refusesKeys(error)) throw error
      way = ways.cluster
      return ask(way)
    }
  }
}

/** A script with keys of several slots, or one that uses a key which it did not declare and which is on another server. */
function refusesKeys (error: unknown): boolean {
  const refusal = /^CROSSSLOT|attempted to access (?:a non local key|keys that do not hash to the same slot)/
  return error instanceof Error && refusal.test(error.message)
}

/** Checks a prefix of keys, and returns it with the colon that ends it. */
export function keyPrefix (prefix: string, caller: string): string {
  if (typeof prefix !== 'string' || !/^[\w.:-]{1,100}$/.test(prefix)) {
    throw new TypeError(`${caller}: option "prefix" must be 1 to 100 letters, digits, and _ . : -`)
  }
  return `${prefix}:`
}

/**
 * Reads a reply as the client gives it. Clients have options that change the types of replies: `stringNumbers` and
 * `replyMapping` of ioredis, type mappings and RESP 3 of node-redis.
 *
 * @throws an error that stands in the reply, and a `TypeError` for a value that no client gives
 */
export function replyOf (given: unknown): Reply {
  if (typeof given === 'string' || given === null) return given
  if (Array.isArray(given)) return given.map(replyOf)
  if (typeof given === 'number' || typeof given === 'bigint' || given instanceof String) return String(given)
  if (ArrayBuffer.isView(given)) return Buffer.from(given.buffer, given.byteOffset, given.byteLength).toString()
  if (typeof given === 'boolean') return given ? '1' : '0'
  if (given instanceof Set) return Array.from(given, replyOf)
  if (given instanceof Map) return Array.from(given).flat().map(replyOf)
  if (given instanceof Error) throw given
  if (typeof given === 'object') return Object.entries(given).flat().map(replyOf)
  throw new TypeError(`Redis: a reply of type ${typeof given} cannot be read`)
}

/** The text of a reply. @throws {TypeError} for nil and lists */
export function textOf (reply: Reply | undefined): string {
  if (typeof reply === 'string') return reply
  throw unexpected(reply, 'a text')
}

/** The number of a reply. @throws {TypeError} for nil, lists, and texts that are not a number */
export function numberOf (reply: Reply | undefined): number {
  const number = typeof reply === 'string' && reply.trim() !== '' ? Number(reply) : NaN
  if (!Number.isNaN(number)) return number
  throw unexpected(reply, 'a number')
}

/** The list of a reply. @throws {TypeError} for nil and texts */
export function listOf (reply: Reply | undefined): readonly Reply[] {
  if (typeof reply === 'object' && reply !== null) return reply
  throw unexpected(reply, 'a list')
}

function unexpected (reply: Reply | undefined, expected: string): TypeError {
  const got = reply === null || reply === undefined ? 'nothing' : typeof reply === 'string' ? 'a text' : 'a list'
  return new TypeError(`Redis: the reply is ${got} where ${expected} was expected`)
}

type Run = (script: string, keys: readonly string[], values: readonly string[]) => Promise<unknown>

function scripting (client: RedisClient, caller: string): { run: Run, runWhole: Run } {
  if (has(client, 'evalSha')) {
    return {
      run: (digest, keys, values) => client.evalSha(digest, { keys: [...keys], arguments: [...values] }),
      runWhole: (lua, keys, values) => client.eval(lua, { keys: [...keys], arguments: [...values] })
    }
  }
  if (has(client, 'evalsha')) {
    const sender = pipelinesByDigest(client) ? oneByOne(client) : client
    return {
      run: (digest, keys, values) => sender.evalsha(digest, keys.length, ...keys, ...values),
      runWhole: (lua, keys, values) => sender.eval(lua, keys.length, ...keys, ...values)
    }
  }
  throw new TypeError(`${caller}: pass a client of ioredis, iovalkey or node-redis`)
}

type Command = readonly [name: string, ...values: Array<string | number>]

interface Pipelining extends IoredisLike {
  readonly options: { readonly enableAutoPipelining: true }
  pipeline (commands: readonly Command[]): { exec (): Promise<Array<[error: Error | null, reply?: unknown]>> }
}

/**
 * Whether it is a cluster client with `enableAutoPipelining`. Those of iovalkey, and of ioredis before version 6, put
 * scripts with the same digest into one pipeline, wherever their keys are, and then refuse it.
 */
function pipelinesByDigest (client: IoredisLike): client is Pipelining {
  return isClusterClient(client) && (client as Partial<Pipelining>).options?.enableAutoPipelining === true
}

function oneByOne (client: Pipelining): IoredisLike {
  const send = async (...command: Command): Promise<unknown> => {
    const [[error, reply] = [new Error('Redis: the pipeline has no reply')]] = await client.pipeline([command]).exec()
    if (error !== null) throw error
    return reply
  }
  return { evalsha: (...values) => send('evalsha', ...values), eval: (...values) => send('eval', ...values) }
}

function has<Name extends string> (client: RedisClient, name: Name): client is Extract<RedisClient, Record<Name, unknown>> {
  return typeof (client as Partial<Record<Name, unknown>> | null | undefined)?.[name] === 'function'
}
