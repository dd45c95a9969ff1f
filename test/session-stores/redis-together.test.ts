import { randomUUID } from 'node:crypto'
import t from 'tap'
import { redisSessionStore } from '../../lib/session-stores/redis.ts'
import { tokenDigest } from '../../lib/token-digest.ts'
import { connectRedisClients } from '../servers/redis-clients.ts'
import { withPrivateRedis } from '../servers/redis.ts'

t.test('logouts of one turn share a round trip', t => withPrivateRedis(t, async ({ url }) => {
  const clients = await connectRedisClients(url)
  t.teardown(clients.end)
  const { ioredis } = clients
  const scriptsRun = async () => Number(/cmdstat_evalsha:calls=(\d+)/.exec(await ioredis.info('commandstats'))?.[1])

  for (const [name, client] of clients.named) {
    const store = redisSessionStore(client, { prefix: name })
    const tokens = Array.from({ length: 50 }, () => randomUUID())
    const expiresAt = Date.now() + 60_000
    for (const token of tokens) await store.create(token, { id: `id of ${token}`, subject: 'alice', createdAt: 0, expiresAt, keepUntil: expiresAt })

    await t.test(`each gets its own answer, through ${name}`, async t => {
      await ioredis.config('RESETSTAT')
      const before = await Promise.all(['unknown', ...tokens, ...tokens.slice(0, 2)].map(token => store.logOut(token)))
      t.equal(await scriptsRun(), 1)
      t.strictSame(before.map(session => session?.id), [undefined, ...[...tokens, ...tokens.slice(0, 2)].map(token => `id of ${token}`)])
      t.strictSame(before.map(session => session?.status), [undefined, ...tokens.map(() => 'active'), 'logged_out', 'logged_out'])
    })

    await t.test(`one that fails fails no other, through ${name}`, async t => {
      await ioredis.set(`{${name}}:s:${tokenDigest('broken')}`, 'no hash')
      const outcomes = await Promise.allSettled([tokens[0], 'broken', tokens[1]].map(token => store.logOut(String(token))))
      t.match(outcomes, [{ value: { status: 'logged_out' } }, { reason: /WRONGTYPE/ }, { value: { status: 'logged_out' } }])
    })
  }
}))
