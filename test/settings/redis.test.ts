import t from 'tap'
import { redisProviderSessionIndex } from '../../lib/provider-session-indexes/redis.ts'
import { redisRevocationStore } from '../../lib/revocation-stores/redis.ts'
import { redisSessionStore } from '../../lib/session-stores/redis.ts'
import { redisUserStatusStore } from '../../lib/user-status-stores/redis.ts'
import { connectOddRedisClients } from '../servers/redis-clients.ts'
import { withPrivateRedis } from '../servers/redis.ts'
import { freshPrefix } from '../session-stores/redis-session.ts'
import { keepsEveryRule } from './every-rule.ts'

/** The rules of a feed in which each kind of its commands gets a reply. */
const repliesMatter = /^(?:without a position|behind a position|a new mark wakes|pages have the types)/

t.test('clients with options that change the types of replies', t => withPrivateRedis(t, async ({ url }) => {
  const { named, end } = await connectOddRedisClients(url)
  t.teardown(end)
  for (const [name, client] of named) {
    const keyByKey = () => ({ prefix: freshPrefix(), cluster: true })
    await t.test(name, t => keepsEveryRule(t, {
      sessions: () => redisSessionStore(client, { prefix: freshPrefix() }),
      users: () => redisUserStatusStore(client, { prefix: freshPrefix() }),
      marks: () => redisRevocationStore(client, { prefix: freshPrefix() }),
      logins: () => redisProviderSessionIndex(client, { prefix: freshPrefix() })
    }, rule => 'duplicate' in client && repliesMatter.test(rule)))
    await t.test(`${name}, as on a cluster`, t => keepsEveryRule(t, {
      sessions: () => redisSessionStore(client, keyByKey()), users: () => redisUserStatusStore(client, keyByKey())
    }))
  }
}))
