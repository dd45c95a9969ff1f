import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import type { IoredisLike } from '../../lib/internal/databases/redis.ts'
import type { NewSession } from '../../lib/session-store.ts'

const hour = 3_600_000
let made = 0

/** A prefix that no other test uses. */
export const freshPrefix = () => `test-${process.pid}-${Date.now()}-${made++}`

/** A live session of alice, where the given members say nothing else. */
export function newSession (given: Partial<NewSession> = {}): NewSession {
  const now = Date.now()
  return { id: randomUUID(), subject: 'alice', createdAt: now, expiresAt: now + hour, keepUntil: now + hour, ...given }
}

/** A client whose connection is cut before each reply: it sends the command again. */
export function resending (redis: Redis): IoredisLike {
  return {
    eval: (script, ...rest) => redis.eval(script, ...rest).then(() => redis.eval(script, ...rest)),
    evalsha: (digest, ...rest) => redis.evalsha(digest, ...rest).then(() => redis.evalsha(digest, ...rest))
  }
}

/**
 * A client whose commands can be lost: `unsent` never reach the server, of `unanswered` the reply is lost. They are
 * numbered from 0 on; `sent` is set back by the test.
 */
export function unreliable (redis: Redis) {
  const faults = { sent: 0, unsent: [] as readonly number[], unanswered: [] as readonly number[] }
  const run = async (command: () => Promise<unknown>) => {
    const number = faults.sent++
    if (faults.unsent.includes(number)) throw new Error('not sent')
    const reply = await command()
    if (faults.unanswered.includes(number)) throw new Error('no reply')
    return reply
  }
  const client: IoredisLike = {
    eval: (script, ...rest) => run(() => redis.eval(script, ...rest)),
    evalsha: (digest, ...rest) => run(() => redis.evalsha(digest, ...rest))
  }
  return { client, faults }
}
