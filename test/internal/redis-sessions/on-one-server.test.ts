import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import t from 'tap'
import { sessionStoreRules } from '../../../lib/conformance/session-store.ts'
import type { IoredisLike } from '../../../lib/internal/databases/redis.ts'
import { redisSessionStore } from '../../../lib/session-stores/redis.ts'
import { tokenDigest } from '../../../lib/token-digest.ts'
import { connectRedisClients } from '../../servers/redis-clients.ts'
import { withPrivateRedis } from '../../servers/redis.ts'
import { newSession } from '../../session-stores/redis-session.ts'

t.test('logouts of one turn share a round trip', t => withPrivateRedis(t, async ({ url }) => {
  const clients = await connectRedisClients(url)
  t.teardown(clients.end)
  const { ioredis } = clients
  const scriptsRun = async () => Number(/cmdstat_evalsha:calls=(\d+)/.exec(await ioredis.info('commandstats'))?.[1])

  for (const [name, client] of clients.named) {
    const store = redisSessionStore(client, { prefix: name })
    const tokens = Array.from({ length: 50 }, () => randomUUID())
    for (const token of tokens) await store.create(token, newSession({ id: `id of ${token}` }))

    await t.test(`each has its own reply, through ${name}`, async t => {
      await ioredis.config('RESETSTAT')
      const before = await Promise.all(['unknown', ...tokens, ...tokens.slice(0, 2)].map(token => store.logOut(token)))
      t.equal(await scriptsRun(), 1)
      t.strictSame(before.map(session => session?.id), [undefined, ...[...tokens, ...tokens.slice(0, 2)].map(token => `id of ${token}`)])
      t.strictSame(before.map(session => session?.status), [undefined, ...tokens.map(() => 'active'), 'logged_out', 'logged_out'])
    })

    await t.test(`one that fails fails no other, through ${name}`, async t => {
      await ioredis.set(`${name}:s:${tokenDigest('broken')}`, 'no hash')
      const outcomes = await Promise.allSettled([tokens[0], 'broken', tokens[1]].map(token => store.logOut(String(token))))
      t.match(outcomes, [{ value: { status: 'logged_out' } }, { reason: /WRONGTYPE/ }, { value: { status: 'logged_out' } }])
    })
  }
}))

t.test('each verb is one command, as the server saw it, however many sessions there are', t => withPrivateRedis(t, async ({ url }) => {
  const clients = await connectRedisClients(url)
  t.teardown(clients.end)
  const { ioredis } = clients
  const seen = async () => Object.fromEntries([...(await ioredis.info('commandstats')).matchAll(/cmdstat_([^:]+):calls=(\d+)/g)]
    .map(([, command = '', calls]) => [command, Number(calls)]))

  for (const [name, client] of clients.named) {
    const store = redisSessionStore(client, { prefix: name })
    const useAll = async (subject: string) => {
      await store.create(randomUUID(), newSession({ id: `${subject} id`, subject }))
      await store.create(`${subject} token`, newSession({ subject }))
      await store.find(`${subject} token`)
      await store.list({ subject, limit: 9 })
      await store.logOutSubject({ subject, except: `${subject} id` })
      await store.logOutById({ id: `${subject} id` })
      await store.logOut(`${subject} token`)
    }
    await useAll('first')
    await ioredis.config('RESETSTAT')
    await useAll('second')
    t.match(await seen(), { evalsha: 7, eval: undefined }, name)
    await ioredis.script('FLUSH')
    await useAll('third')
    await ioredis.config('RESETSTAT')
  }

  const store = redisSessionStore(ioredis)
  const cost = async (subject: string, count: number) => {
    const ids = Array.from({ length: count }, (_, index) => `${subject} ${index}`)
    await Promise.all(ids.map(id => store.create(id, newSession({ id, subject }))))
    await ioredis.config('RESETSTAT')
    t.equal(await store.logOutSubject({ subject, except: `${subject} 1`, count: true }), count - 1)
    return seen()
  }
  const ten = await cost('ten', 10)
  t.match(ten, { evalsha: 1, unlink: undefined, del: undefined }, 'it frees nothing')
  t.strictSame(await cost('many', 10_000), ten, 'ten thousand sessions take the script the same commands as ten')
}))

t.test('errors that clients act upon are errors of the command, also of a batch', t => withPrivateRedis(t, async ({ url }) => {
  const seen: string[] = []
  const writer = new Redis(url)
  const reader = new Redis(url, { reconnectOnError: error => { seen.push(error.message); return false } })
  t.teardown(() => { writer.disconnect(); reader.disconnect() })
  await redisSessionStore(writer).create('token', newSession())
  await writer.replicaof('127.0.0.1', 1)
  const store = redisSessionStore(reader)
  const outcomes = await Promise.allSettled(['token', 'unknown'].map(token => store.logOut(token)))
  for (const outcome of outcomes) t.match(outcome, { reason: { message: /^READONLY / } })
  t.ok(seen.some(message => message.startsWith('READONLY ')), 'ioredis is asked whether to connect again')
  t.equal((await store.find('token'))?.status, 'active', 'reading goes on')
}))

t.test('behind a proxy that spreads keys, an active session is never taken for logged out', t => withPrivateRedis(t, async one => {
  await withPrivateRedis(t, async other => {
    const servers = [new Redis(one.url), new Redis(other.url)] as const
    t.teardown(() => { for (const server of servers) server.disconnect() })
    const serverOf = (key: string) => servers[key.startsWith('logout-session:u:') ? 1 : 0]
    const run = (name: 'eval' | 'evalsha') => async (script: string, count: number, ...values: string[]) => {
      const places = new Set(values.slice(0, count).map(serverOf))
      if (places.size > 1) throw new Error('CROSSSLOT Keys in request don\'t hash to the same slot')
      return [...places][0]?.[name](script, count, ...values)
    }
    const proxied: IoredisLike = { eval: run('eval'), evalsha: run('evalsha') }

    const store = redisSessionStore(proxied)
    for (const rule of sessionStoreRules) await t.resolves(rule.check(() => store), rule.name)

    for (const token of ['one', 'two', 'three', 'four']) await store.create(token, newSession({ id: token }))
    /** Stores that have met no refusal yet. */
    const fresh = () => redisSessionStore(proxied)
    t.equal((await fresh().find('one'))?.status, 'active')
    t.equal((await fresh().list({ subject: 'alice', limit: 9 })).length, 4)
    t.equal((await fresh().logOut('one'))?.status, 'active')
    t.equal((await fresh().logOutById({ id: 'two' }))?.status, 'active')
    t.equal(await fresh().logOutSubject({ subject: 'alice', except: 'three', count: true }), 1)
    t.strictSame(await Promise.all(['one', 'two', 'three', 'four'].map(async token => (await fresh().find(token))?.status)),
      ['logged_out', 'logged_out', 'active', 'logged_out'])
    t.equal(await fresh().logOutSubject({ subject: 'alice', count: true }), 1)
    t.equal((await fresh().logOut('unknown')), undefined)
  })
}))
