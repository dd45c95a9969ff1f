import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Cluster, Redis } from 'ioredis'
import { createCluster } from 'redis'
import t from 'tap'
import { sessionStoreRules } from '../../lib/conformance/session-store.ts'
import type { IoredisLike, RedisClient } from '../../lib/internal/databases/redis.ts'
import type { NewSession } from '../../lib/session-store.ts'
import { redisSessionStore } from '../../lib/session-stores/redis.ts'
import { connectOddRedisClients, connectRedisClients } from '../servers/redis-clients.ts'
import { withPrivateRedis, withRedis } from '../servers/redis.ts'
import { spread } from './spread.ts'

const hour = 3_600_000
let made = 0
const freshPrefix = () => `test-${process.pid}-${Date.now()}-${made++}`

function session (given: Partial<NewSession> = {}): NewSession {
  const now = Date.now()
  return { id: randomUUID(), subject: 'alice', createdAt: now, expiresAt: now + hour, keepUntil: now + hour, ...given }
}

t.test('on a server that others use too', t => withRedis(t, async ({ url }) => {
  const clients = await connectRedisClients(url)
  const { ioredis } = clients
  const prefixing = new Redis(url, { keyPrefix: 'host:' })
  t.teardown(() => {
    clients.end()
    prefixing.disconnect()
  })
  const keysOf = (prefix: string) => ioredis.keys(`*{${prefix}}*`)

  for (const [name, client] of [...clients.named, ['ioredis with a key prefix', prefixing]] as Array<[string, RedisClient]>) {
    await t.test(`the rules, through ${name}`, async t => {
      const store = redisSessionStore(client, { prefix: freshPrefix() })
      for (const rule of sessionStoreRules) await t.resolves(rule.check(() => store), rule.name)
    })
  }

  await t.test('the rules, through all of them at once', async t => {
    const prefix = freshPrefix()
    const store = spread(clients.named.map(([, client]) => redisSessionStore(client, { prefix })))
    for (const rule of sessionStoreRules) await t.resolves(rule.check(() => store), rule.name)
  })

  await t.test('200 parallel logOut from several clients: one saw the session active', async t => {
    const prefix = freshPrefix()
    const store = spread(clients.named.map(([, client]) => redisSessionStore(client, { prefix })))
    await store.create('token', session())
    const before = await Promise.all(Array.from({ length: 200 }, () => store.logOut('token')))
    t.equal(before.filter(found => found?.status === 'active').length, 1)
    t.equal(before.filter(found => found?.status === 'logged_out').length, 199)
  })

  await t.test('every key is gone at the latest keepUntil, whatever was done', async t => {
    const prefix = freshPrefix()
    const store = redisSessionStore(ioredis, { prefix })
    const keepUntil = Date.now() + 1500
    await store.create('longest', session({ id: 'longest', expiresAt: keepUntil - 1000, keepUntil }))
    for (const token of ['one', 'two', 'three']) await store.create(token, session({ id: token, expiresAt: keepUntil - 1000, keepUntil: keepUntil - 1000 }))
    t.strictSame(await Promise.all(['g', 'l', 'x'].map(kind => ioredis.pexpiretime(`{${prefix}}:${kind}:alice`))), [keepUntil, keepUntil, keepUntil])
    await store.logOut('one')
    await store.logOutById({ id: 'two' })
    await store.logOutSubject({ subject: 'alice', except: 'three' })
    const endings = async () => Promise.all((await keysOf(prefix)).map(key => ioredis.pexpiretime(key)))
    const spared = await endings()
    await store.create('four', session({ expiresAt: 0, keepUntil }))
    for (const left of [spared, await endings()]) t.ok(left.length >= 10 && left.every(until => until > 0 && until <= keepUntil), `${left}`)
    await sleep(keepUntil - Date.now() + 50)
    t.strictSame(await keysOf(prefix), [])
    t.equal(await store.find('longest'), undefined)
  })

  await t.test('what expired leaves the list of a subject with later logins, not all at once', async t => {
    const prefix = freshPrefix()
    const store = redisSessionStore(ioredis, { prefix })
    await store.create('live', session({ createdAt: 0, id: 'live' }))
    const expiresAt = Date.now() + 1500
    await Promise.all(Array.from({ length: 150 }, (_, index) => store.create(`${index}`, session({ expiresAt }))))
    t.equal(await ioredis.zcard(`{${prefix}}:l:alice`), 151)
    await sleep(expiresAt - Date.now() + 10)
    t.strictSame((await store.list({ subject: 'alice', limit: 2 })).map(({ id }) => id), ['live'])
    await store.create('new', session({ id: 'new' }))
    t.equal(await ioredis.zcard(`{${prefix}}:l:alice`), 52)
    await store.create('newer', session({ id: 'newer' }))
    t.equal(await ioredis.zcard(`{${prefix}}:l:alice`), 3)
    t.equal(await ioredis.zcard(`{${prefix}}:x:alice`), 3)
    t.equal(await store.logOutSubject({ subject: 'alice', count: true }), 3)
  })

  await t.test('all keys of a store are in one hash slot, and two prefixes never see each other', async t => {
    const prefix = freshPrefix()
    const store = redisSessionStore(clients.nodeRedis, { prefix })
    const others = [`${prefix}:s`, `${prefix}:`].map(prefix => redisSessionStore(clients.nodeRedis, { prefix }))
    await store.create('token', session({ id: 'id' }))
    await store.logOutSubject({ subject: 'alice', except: 'id' })
    for (const other of others) {
      t.equal(await other.find('token'), undefined)
      t.equal(await other.logOut('token'), undefined)
      t.equal(await other.logOutById({ id: 'id' }), undefined)
      t.equal(await other.logOutSubject({ subject: 'alice', count: true }), 0)
      t.strictSame(await other.list({ subject: 'alice', limit: 9 }), [])
      await other.create('token', session({ id: 'id' }))
      await other.logOut('token')
    }
    t.equal((await store.find('token'))?.status, 'active')
    const keys = await keysOf(prefix)
    t.ok(keys.length >= 5 && keys.every(key => key.startsWith(`{${prefix}}:`)))
  })

  await t.test('what is evicted is logged out or unknown, and no login brings it back', async t => {
    const prefix = freshPrefix()
    const store = redisSessionStore(ioredis, { prefix })
    await store.create('token', session())
    await ioredis.del(`{${prefix}}:g:alice`)
    t.equal((await store.find('token'))?.status, 'logged_out')
    t.strictSame(await store.list({ subject: 'alice', limit: 9 }), [])
    t.equal(await store.logOutSubject({ subject: 'alice', count: true }), 0)
    await store.create('spared', session({ id: 'spared' }))
    await ioredis.del(`{${prefix}}:g:alice`)
    await store.create('new', session({ id: 'new' }))
    t.strictSame((await store.list({ subject: 'alice', limit: 9 })).map(({ id }) => id), ['new'])
    t.equal((await store.find('spared'))?.status, 'logged_out')
    t.equal(await store.logOutSubject({ subject: 'alice', except: 'new', count: true }), 0)
    t.equal((await store.find('token'))?.status, 'logged_out')
    t.equal((await store.logOut('token'))?.status, 'logged_out')
    await ioredis.del(`{${prefix}}:i:new`)
    t.strictSame(await store.list({ subject: 'alice', limit: 9 }), [])
    await store.logOutSubject({ subject: 'alice', except: 'new' })
    t.equal((await store.find('new'))?.status, 'logged_out')
  })

  await t.test('a command that the client sends again is recognised', async t => {
    const store = redisSessionStore(resending(ioredis), { prefix: freshPrefix() })
    await store.create('token', session())
    t.equal((await store.logOut('token'))?.status, 'active')
    t.equal((await store.logOut('token'))?.status, 'logged_out')
    await store.create('other', session({ id: 'other' }))
    await store.logOutSubject({ subject: 'alice', except: 'other' })
    t.equal((await store.logOutById({ id: 'other' }))?.status, 'active')
    t.equal((await store.logOutById({ id: 'other' }))?.status, 'logged_out')
    await t.rejects(store.create('token', session()), /exists already/)
  })

  await t.test('a key of another type is a rejection, not an answer', async t => {
    const prefix = freshPrefix()
    const store = redisSessionStore(ioredis, { prefix })
    await store.create('token', session())
    await ioredis.del(`{${prefix}}:g:alice`)
    await ioredis.hset(`{${prefix}}:g:alice`, 'a', 'b')
    await t.rejects(store.find('token'), /WRONGTYPE/)
    await t.rejects(store.logOut('token'), /WRONGTYPE/)
    await t.rejects(store.logOutSubject({ subject: 'alice' }), /WRONGTYPE/)
  })
}))

t.test('the rules, through clients with options that change the types of replies', t => withPrivateRedis(t, async ({ url }) => {
  const { named, end } = await connectOddRedisClients(url)
  t.teardown(end)
  for (const [name, client] of named) {
    const store = redisSessionStore(client, { prefix: freshPrefix() })
    for (const rule of sessionStoreRules) await t.resolves(rule.check(() => store), `${name}: ${rule.name}`)
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
      await store.create(randomUUID(), session({ id: `${subject} id`, subject }))
      await store.create(`${subject} token`, session({ subject }))
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
    await Promise.all(Array.from({ length: count }, (_, index) => store.create(randomUUID(), session({ id: `${subject} ${index}`, subject }))))
    await ioredis.config('RESETSTAT')
    t.equal(await store.logOutSubject({ subject, except: `${subject} 1`, count: true }), count - 1)
    return seen()
  }
  const ten = await cost('ten', 10)
  t.match(ten, { evalsha: 1, unlink: 1 }, 'what has ended is dropped behind the scenes')
  t.strictSame(await cost('many', 10_000), ten, 'ten thousand sessions take the script the same commands as ten')
}))

t.test('the rules, on a cluster', t => withPrivateRedis(t, async ({ url, port }) => {
  const node = new Redis(url)
  await node.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
  while (!/cluster_state:ok/.test(String(await node.call('CLUSTER', 'INFO')))) await sleep(20)
  const ioredis = new Cluster([{ host: '127.0.0.1', port }])
  const nodeRedis = await createCluster({ rootNodes: [{ url }] }).connect()
  t.teardown(() => {
    node.disconnect()
    ioredis.disconnect()
    nodeRedis.destroy()
  })
  const store = spread([ioredis, nodeRedis].map(client => redisSessionStore(client, { prefix: 'clustered' })))
  for (const rule of sessionStoreRules) await t.resolves(rule.check(() => store), rule.name)
}, { config: { 'cluster-enabled': 'yes', 'cluster-announce-ip': '127.0.0.1' } }))

t.test('a full Redis refuses logins and still logs out', t => withPrivateRedis(t, async ({ url }) => {
  const { ioredis, end } = await connectRedisClients(url)
  t.teardown(end)
  const store = redisSessionStore(ioredis)
  for (const token of ['one', 'two', 'three', 'four']) await store.create(token, session({ id: token }))
  await ioredis.config('SET', 'maxmemory', '1')

  await t.rejects(store.create('five', session()), /OOM/)
  t.equal((await store.list({ subject: 'alice', limit: 9 })).length, 4, 'a refusal changes nothing')
  t.equal((await store.logOut('one'))?.status, 'active')
  t.equal((await store.logOut('one'))?.status, 'logged_out')
  t.equal((await store.logOutById({ id: 'two' }))?.status, 'active')
  t.equal(await store.logOutSubject({ subject: 'alice', except: 'four', count: true }), 1)
  t.equal((await store.find('four'))?.status, 'active')
  t.equal(await store.logOutSubject({ subject: 'alice', count: true }), 1)
  t.equal((await store.find('four'))?.status, 'logged_out')

  await ioredis.config('SET', 'maxmemory', '0')
  await store.create('five', session())
  for (const token of ['one', 'two', 'three', 'four']) t.equal((await store.find(token))?.status, 'logged_out')
}, { config: { 'maxmemory-policy': 'noeviction' } }))

t.test('a wrong client or prefix is a TypeError that names it', async t => {
  for (const client of [undefined, null, {}, 'redis://127.0.0.1']) {
    t.throws(() => redisSessionStore(client as unknown as RedisClient), { name: 'TypeError', message: /redisSessionStore: pass a client/ })
  }
  const client: IoredisLike = { eval: async () => null, evalsha: async () => null }
  for (const prefix of ['', 'a b', '{a}', 'a}', 'a*', 'ä', 1]) {
    t.throws(() => redisSessionStore(client, { prefix: prefix as string }), { name: 'TypeError', message: /redisSessionStore: option "prefix" must/ })
  }
})

/** A client whose connection is cut before each answer: it sends the command again. */
function resending (redis: Redis): IoredisLike {
  return {
    eval: (script, ...rest) => redis.eval(script, ...rest).then(() => redis.eval(script, ...rest)),
    evalsha: (digest, ...rest) => redis.evalsha(digest, ...rest).then(() => redis.evalsha(digest, ...rest))
  }
}
