import { randomUUID } from 'node:crypto'
import { canDuplicate, openRedisConnection, type RedisConnection } from '../databases/redis-connection.ts'
import { redisScripts, textOf, type RedisClient } from '../databases/redis.ts'
import type { RevocationKeys } from '../marks/redis.ts'
import { heartbeat } from './heartbeat.ts'
import { messageBox } from './redis-messages.ts'
import { placeOf } from './redis-position.ts'
import { redisReader, type RedisReader } from './redis-reader.ts'
import type { RevocationFeed } from '../../revocation-store.ts'

/** Whose marks {@link redisFeed} follows, and how much it reads at once. */
export interface RedisFeedSource {
  readonly keys: RevocationKeys
  readonly caller: string
  /** Ids with their marks, while it loads. @default 1000 */
  readonly ids?: number
  /** Entries of the stream: one for each script that made marks. @default 50 */
  readonly entries?: number
}

/**
 * Follows the marks of a store in Redis: new marks are published, and the store's stream has everything that was.
 *
 * Each entry of the stream has a random name and gives the name of the one before it. So a message that did not come, a
 * stream that was trimmed, a server that lost something and a server with another history all show as a gap: then the
 * stream is read, and every mark is loaded again if the stream has the gap too. Loading goes by the marks' ends and ids:
 * such a place means the same on every server, unlike the cursor of a scan.
 *
 * A page is complete only if this connection found a heartbeat that the store's client wrote after the question, in the
 * same script that read the end of the stream. So marks are read where they are written, whatever failed over meanwhile.
 *
 * It takes two connections: one that reads, and one on which messages come.
 *
 * @throws {TypeError} when the client cannot open another connection; `caller` begins the message.
 */
export function redisFeed (redis: RedisClient, source: RedisFeedSource): RevocationFeed {
  const { keys, caller } = source
  if (!canDuplicate(redis)) throw new TypeError(`${caller}: feed() needs a client that has duplicate(), which a pool has not`)
  const key = `${keys.heartbeat}${randomUUID()}`
  const writeHeartbeat = redisScripts(redis, caller)(heartbeatLua)
  const beat = heartbeat(value => writeHeartbeat([key], value))
  const open = () => openReader(openRedisConnection(redis, caller), source, key)
  let opened: Opened | undefined

  return {
    async next (position, timeout) {
      const current = opened ??= open()
      const reader = await current.reader
      const place = placeOf(position)
      if (place === undefined) return reader.begin()
      if (place.loaded !== undefined) return reader.load(place, place.loaded)

      const asked = performance.now()
      const wait = Math.ceil(current.completeAt + timeout - asked)
      if (wait > 0) return reader.wait(place, wait)
      const page = await reader.prove(place, await beat())
      if (page.complete) current.completeAt = asked
      return page
    },

    close () {
      opened?.end()
      opened = undefined
    }
  }
}

interface Opened {
  /** Once it listens. */
  readonly reader: Promise<RedisReader>
  /** When everything was last known to be read, by `performance.now()`. */
  completeAt: number
  end (): void
}

/** Listens to the channel that has the name of the stream's key, whatever prefix the client puts before it. */
function openReader (connection: RedisConnection, { keys, ids = 1000, entries = 50 }: RedisFeedSource, heartbeat: string): Opened {
  const messages = messageBox()
  const listen = async () => {
    const channel = textOf(await connection.script('return KEYS[1]')([keys.feed]))
    await connection.subscribe(channel, { onMessage: messages.put, onEnd: messages.end })
    return redisReader(connection, { keys, heartbeat, messages, ids, entries })
  }
  const reader = listen()
  reader.catch(() => {})
  return {
    reader,
    completeAt: -Infinity,
    end () {
      messages.end()
      connection.end()
    }
  }
}

const heartbeatLua = "return redis.call('SET', KEYS[1], ARGV[1], 'PX', 60000)"
