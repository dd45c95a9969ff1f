import { Cluster, Redis } from 'ioredis'
import { createCluster } from 'redis'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'

import { userStatusStoreRules } from '../../lib/conformance/user-status-store.ts'
import type { IoredisLike, RedisClient } from '../../lib/internal/databases/redis.ts'
import { redisUserStatusStore } from '../../lib/user-status-stores/redis.ts'
import { connectOddRedisClients, connectRedisClients } from '../servers/redis-clients.ts'
import { withPrivateRedis, withRedis } from '../servers/redis.ts'
import { spread } from './spread.ts'
import { keepsUserRecords } from './user-records.ts'

const alice = { tenant: 'acme', subject: 'alice' }
const login = { status: 'logged_in', at: 1000, requestId: 'r-1' } as const
let made = 0
const freshPrefix = () => `test-${process.pid}-${Date.now()}-${made++}`

t.test('on a server that others use too', t => withRedis(t, async ({ url }) => {
  const clients = await connectRedisClients(url)
  t.teardown(clients.end)

  for (const [name, client] of clients.named) {
    await t.test(`the rules, through ${name}`, async t => {
      await Promise.all([false, true].flatMap(cluster => userStatusStoreRules.map(async rule => {
        await t.resolves(rule.check(() => {
          const store = redisUserStatusStore(client, { prefix: freshPrefix(), cluster })
          return { store, set: store.set }
        }), rule.name)
      })))
    })
  }

  await t.test('the rules, through all of them at once', async t => {
    await Promise.all(userStatusStoreRules.map(async rule => {
      await t.resolves(rule.check(() => {
        const prefix = freshPrefix()
        const stores = clients.named.map(([, client]) => redisUserStatusStore(client, { prefix }))
        return { store: spread(stores), set: async (user, status) => stores[0]?.set(user, status) }
      }), rule.name)
    }))
  })

  await t.test('200 parallel logOut from several clients: one saw the user logged in', async t => {
    const prefix = freshPrefix()
    const stores = clients.named.map(([, client]) => redisUserStatusStore(client, { prefix }))
    await stores[0]?.set(alice, 'logged_in')
    const before = await Promise.all(Array.from({ length: 200 }, (_, i) => stores[i % 3]?.logOut(alice, { at: 1000 + i, requestId: 'r' })))
    t.equal(before.filter(record => record?.status === 'logged_in').length, 1)
    t.equal((await stores[1]?.get(alice))?.loggedOutAt, 1199)
  })

  await t.test('a command that the client sends again is recognised', async t => {
    const prefix = freshPrefix()
    const store = redisUserStatusStore(resending(clients.ioredis), { prefix })
    t.equal(await store.compareAndSet(alice, undefined, login), true)
    t.equal((await store.logOut(alice, { at: 2000, requestId: 'r' }))?.status, 'logged_in')
    t.equal((await store.logOut(alice, { at: 3000, requestId: 'r' }))?.status, 'logged_out')
    t.equal(await store.logOut({ tenant: 'acme', subject: 'nobody' }, { at: 3000, requestId: 'r' }), undefined)
  })

  await t.test('two prefixes never see each other, whatever the ids', async t => {
    const prefix = freshPrefix()
    const outer = redisUserStatusStore(clients.ioredis, { prefix })
    const inner = redisUserStatusStore(clients.nodeRedis, { prefix: `${prefix}:acme` })
    const longer = redisUserStatusStore(clients.nodeRedis, { prefix: `${prefix}:` })
    await inner.set(alice, 'suspended')
    await longer.set(alice, 'suspended')
    const alike = [['acme', 'alice'], ['', 'alice'], ['acme', 'acme:alice'], ['acme:acme', 'alice'], [':acme', 'alice']] as const
    for (const [tenant, subject] of alike) {
      t.equal(await outer.get({ tenant, subject }), undefined)
    }
  })

  await t.test('a record stays until it is removed', async t => {
    const prefix = freshPrefix()
    const store = redisUserStatusStore(clients.ioredis, { prefix })
    await store.compareAndSet(alice, undefined, login)
    t.equal(await clients.ioredis.ttl(`${prefix}:acme:alice`), -1)
    t.equal(await clients.ioredis.hget(`${prefix}:acme:alice`, 'requestId'), 'r-1')
    await store.remove(alice)
    t.equal(await clients.ioredis.exists(`${prefix}:acme:alice`), 0)
  })

  await t.test('set keeps the times, remove forgets only its user, and an old version never fits a new record', async t => {
    await keepsUserRecords(t, redisUserStatusStore(clients.iovalkey, { prefix: freshPrefix() }))
  })

  await t.test('a key of another type is a rejection, not an answer', async t => {
    const prefix = freshPrefix()
    await clients.ioredis.set(`${prefix}:acme:alice`, 'x')
    const store = redisUserStatusStore(clients.ioredis, { prefix })
    await t.rejects(store.get(alice), /WRONGTYPE/)
    await t.rejects(store.logOut(alice, { at: 1, requestId: 'r' }), /WRONGTYPE/)
  })
}))

t.test('it reads the same through clients with options that change the types of replies', t => withPrivateRedis(t, async ({ url }) => {
  const { named, end } = await connectOddRedisClients(url)
  t.teardown(end)
  for (const cluster of [false, true]) {
    for (const [name, client] of named) {
      const store = redisUserStatusStore(client, { prefix: freshPrefix(), cluster })
      t.equal(await store.get(alice), undefined, name)
      t.equal(await store.logOut(alice, { at: 1, requestId: 'r' }), undefined)
      t.strictSame([await store.compareAndSet(alice, 'other', login), await store.compareAndSet(alice, undefined, login)], [false, true])
      const loggedIn = await store.get(alice)
      t.match(loggedIn, { status: 'logged_in', version: String, lastSeenAt: 1000, loggedOutAt: undefined })
      const before = await Promise.all([2000, 3000].map(at => store.logOut(alice, { at, requestId: 'r' })))
      t.strictSame(before.map(record => [record?.status, record?.loggedOutAt]), [['logged_in', undefined], ['logged_out', 2000]])
      t.match(await store.get(alice), { status: 'logged_out', lastSeenAt: 1000, loggedOutAt: 3000 })
    }
  }
}))

t.test('logouts of one turn share a round trip', t => withPrivateRedis(t, async ({ url }) => {
  const clients = await connectRedisClients(url)
  t.teardown(clients.end)
  const scriptsRun = async () => Number(/cmdstat_evalsha:calls=(\d+)/.exec(await clients.ioredis.info('commandstats'))?.[1])
  const userOf = (subject: string) => ({ tenant: 'acme', subject })
  for (const [name, client] of clients.named) {
    await t.test(`each has its own reply, through ${name}`, async t => {
      const store = redisUserStatusStore(client, { prefix: name })
      const subjects = Array.from({ length: 30 }, (_, index) => `user-${index}`)
      for (const subject of subjects) await store.set(userOf(subject), 'logged_in')
      await store.set(userOf('suspended'), 'suspended')
      const change = { at: 1000, requestId: 'r' }
      await store.logOut(userOf('warm'), change)
      await clients.ioredis.config('RESETSTAT')
      const asked = [...subjects, 'unknown', 'suspended', 'user-0']
      const before = await Promise.all(asked.map(subject => store.logOut(userOf(subject), change)))
      t.equal(await scriptsRun(), 1)
      t.strictSame(before.map(record => record?.status), [...subjects.map(() => 'logged_in'), undefined, 'suspended', 'logged_out'])
      t.match(await store.get(userOf('user-7')), { status: 'logged_out', loggedOutAt: 1000 })
    })

    await t.test(`one that fails fails no other, through ${name}`, async t => {
      const store = redisUserStatusStore(client, { prefix: name })
      await clients.ioredis.set(`${name}:acme:broken`, 'no hash')
      const asked = ['user-0', 'broken', 'user-1']
      const outcomes = await Promise.allSettled(asked.map(subject => store.logOut(userOf(subject), { at: 1, requestId: 'r' })))
      t.match(outcomes, [{ value: { status: 'logged_out' } }, { reason: /WRONGTYPE/ }, { value: { status: 'logged_out' } }])
    })
  }
}))

t.test('a full Redis refuses logins and still logs out', t => withPrivateRedis(t, async ({ url }) => {
  const { ioredis, end } = await connectRedisClients(url)
  t.teardown(end)
  for (const cluster of [false, true]) {
    const store = redisUserStatusStore(ioredis, { prefix: `${cluster}`, cluster })
    for (const subject of ['alice', 'bob', 'carol']) await store.set({ tenant: 'acme', subject }, 'logged_in')
    await store.logOut({ tenant: 'acme', subject: 'bob' }, { at: 1, requestId: 'r' })
    await ioredis.config('SET', 'maxmemory', '1')
    t.equal((await store.logOut(alice, { at: 1, requestId: 'r' }))?.status, 'logged_in')
    t.equal((await store.get(alice))?.status, 'logged_out')
    const bob = await store.get({ tenant: 'acme', subject: 'bob' })
    await t.rejects(store.compareAndSet({ tenant: 'acme', subject: 'bob' }, bob?.version, login), /OOM/)
    await t.rejects(store.set({ tenant: 'acme', subject: 'dave' }, 'logged_in'), /OOM/)
    t.equal(await store.logOut({ tenant: 'acme', subject: 'nobody' }, { at: 1, requestId: 'r' }), undefined)
    await ioredis.config('SET', 'maxmemory', '0')
  }
}, { config: { 'maxmemory-policy': 'noeviction' } }))

t.test('each verb is one command, as the server saw it', t => withPrivateRedis(t, async ({ url }) => {
  const clients = await connectRedisClients(url)
  t.teardown(clients.end)
  for (const [name, client] of clients.named) {
    const store = redisUserStatusStore(client)
    const verbs = [
      () => store.set(alice, 'logged_in'),
      () => store.get(alice),
      () => store.compareAndSet(alice, 'past', login),
      () => store.logOut(alice, { at: 1, requestId: 'r' }),
      () => store.remove(alice)
    ]
    for (const verb of verbs) await verb()
    const before = await readsOf(clients.ioredis)
    for (const verb of verbs) await verb()
    t.equal(await readsOf(clients.ioredis) - before - 1, verbs.length, name)
  }
  t.match(await clients.ioredis.keys('*'), [])

  await clients.ioredis.script('FLUSH')
  const store = redisUserStatusStore(clients.nodeRedis)
  await store.set(alice, 'logged_in')
  t.equal((await store.logOut(alice, { at: 1, requestId: 'r' }))?.status, 'logged_in', 'scripts that the server forgot are sent again')
  t.strictSame(await clients.ioredis.keys('*'), ['logout-user-status:acme:alice'], 'and one user is one key')
}))

t.test('the rules, on a cluster of one server', t => withPrivateRedis(t, async ({ url, port }) => {
  const node = new Redis(url)
  await node.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
  while (!/cluster_state:ok/.test(String(await node.call('CLUSTER', 'INFO')))) await sleep(20)
  const ioredis = new Cluster([{ host: '127.0.0.1', port }])
  const nodeRedis = createCluster({ rootNodes: [{ url }] })
  await nodeRedis.connect()
  t.teardown(() => { node.disconnect(); ioredis.disconnect(); nodeRedis.destroy() })
  await Promise.all(userStatusStoreRules.map(async rule => {
    await t.resolves(rule.check(() => {
      const prefix = freshPrefix()
      const stores = [ioredis, nodeRedis, node].map(client => redisUserStatusStore(client, { prefix }))
      return { store: spread(stores), set: async (user, status) => stores[0]?.set(user, status) }
    }), rule.name)
  }))
  const store = redisUserStatusStore(node)
  const subjects = ['alice', 'bob', 'carol']
  for (const subject of subjects) await store.set({ tenant: 'acme', subject }, 'logged_in')
  const before = await Promise.all(subjects.map(subject => store.logOut({ tenant: 'acme', subject }, { at: 1, requestId: 'r' })))
  const statuses = before.map(record => record?.status)
  t.strictSame(statuses, ['logged_in', 'logged_in', 'logged_in'], 'a batch that is refused for its keys is sent one by one')
}, { config: { 'cluster-enabled': 'yes', 'cluster-announce-ip': '127.0.0.1' } }))

t.test('a wrong client or option is a TypeError that names it', async t => {
  t.throws(() => redisUserStatusStore({} as RedisClient), { name: 'TypeError', message: /redisUserStatusStore: pass a client of ioredis/ })
  const client: IoredisLike = { evalsha: async () => {}, eval: async () => {} }
  for (const [options, message] of [
    [{ prefix: 'a b' }, /redisUserStatusStore: option "prefix" must/],
    [{ cluster: 'yes' as unknown as boolean }, /redisUserStatusStore: option "cluster" must be true or false/]
  ] as const) t.throws(() => redisUserStatusStore(client, options), { name: 'TypeError', message })
})

t.test('a reply that cannot be read is a rejection, and never a user who is logged out or unknown', async t => {
  for (const reply of [undefined, '', 'text', [], [[]], [['logged_in', null, '', '']]]) {
    const client: IoredisLike = { eval: async () => reply, evalsha: async () => reply }
    for (const cluster of [false, true]) {
      const store = redisUserStatusStore(client, { cluster })
      await t.rejects(store.get(alice))
      await t.rejects(store.compareAndSet(alice, undefined, login))
      await t.rejects(store.logOut(alice, { at: 1, requestId: 'r' }))
    }
  }
})

t.test('a command that fails rejects its method', async t => {
  const fail = async () => { throw new Error('down') }
  const store = redisUserStatusStore({ eval: fail, evalsha: fail })
  const calls: ReadonlyArray<() => Promise<unknown>> = [
    () => store.get(alice),
    () => store.compareAndSet(alice, undefined, login),
    () => store.logOut(alice, { at: 1, requestId: 'r' }),
    () => store.set(alice, 'suspended'),
    () => store.remove(alice)
  ]
  for (const call of calls) await t.rejects(call, { message: 'down' })
})

function resending (client: Redis): IoredisLike {
  return {
    async evalsha (digest, keys, ...rest) {
      await client.evalsha(digest, keys, ...rest)
      return client.evalsha(digest, keys, ...rest)
    },
    async eval (lua, keys, ...rest) {
      await client.eval(lua, keys, ...rest)
      return client.eval(lua, keys, ...rest)
    }
  }
}

async function readsOf (client: Redis): Promise<number> {
  return Number(/total_reads_processed:(\d+)/.exec(await client.info('stats'))?.[1])
}
