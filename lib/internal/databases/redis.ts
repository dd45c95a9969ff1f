import { hash } from 'node:crypto'

/** What is asked of a client of ioredis or iovalkey, cluster clients included. */
export interface IoredisLike {
  /** Runs a script that the server knows by this digest. */
  evalsha (digest: string, numberOfKeys: number, ...keysAndArguments: string[]): Promise<unknown>
  /** Runs a script that the server may not know yet. */
  eval (script: string, numberOfKeys: number, ...keysAndArguments: string[]): Promise<unknown>
}

/** What is asked of a client of node-redis, cluster clients and pools included. */
export interface NodeRedisLike {
  /** Runs a script that the server knows by this digest. */
  evalSha (digest: string, options: { keys: string[], arguments: string[] }): Promise<unknown>
  /** Runs a script that the server may not know yet. */
  eval (script: string, options: { keys: string[], arguments: string[] }): Promise<unknown>
}

/** A client that the host has: of ioredis, iovalkey or node-redis. */
export type RedisClient = IoredisLike | NodeRedisLike

/** Runs a script with these keys and arguments. */
export type RunScript = (keys: readonly string[], ...values: string[]) => Promise<unknown>

/**
 * Prepares Lua scripts for the client, whichever it is: `EVALSHA`, so one round trip; only where the server does not
 * know the script yet (after its start, or a `SCRIPT FLUSH`), it is sent whole in a second one.
 *
 * @throws {TypeError} when it is none of these clients; `caller` begins the message.
 */
export function redisScripts (client: RedisClient, caller: string): (lua: string) => RunScript {
  const { run, runWhole } = scripting(client, caller)
  return lua => {
    const digest = hash('sha1', lua)
    return async (keys, ...values) => {
      try {
        return await run(digest, keys, values)
      } catch (error) {
        if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error
        return runWhole(lua, keys, values)
      }
    }
  }
}

/** Checks a prefix of keys, and answers with it. Whatever follows in a key begins behind its colon. */
export function keyPrefix (prefix: string, caller: string): string {
  if (typeof prefix !== 'string' || !/^[\w.:-]{1,100}$/.test(prefix)) {
    throw new TypeError(`${caller}: prefix must be 1 to 100 letters, digits, and _ . : -`)
  }
  return `${prefix}:`
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
    return {
      run: (digest, keys, values) => client.evalsha(digest, keys.length, ...keys, ...values),
      runWhole: (lua, keys, values) => client.eval(lua, keys.length, ...keys, ...values)
    }
  }
  throw new TypeError(`${caller}: pass a client of ioredis, iovalkey or node-redis`)
}

function has<Name extends string> (client: RedisClient, name: Name): client is Extract<RedisClient, Record<Name, unknown>> {
  return typeof (client as Partial<Record<Name, unknown>> | null | undefined)?.[name] === 'function'
}
