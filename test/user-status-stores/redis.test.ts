import { Cluster, Redis } from 'ioredis'
import { createCluster } from 'redis'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'

import { userStatusStoreRules } from '../../lib/conformance/user-status-store.ts'
import type { IoredisLike, RedisClient } from '../../lib/internal/databases/redis.ts'
import { redisUserStatusStore } from '../../lib/user-status-stores/redis.ts'
import type { UserStatusStore } from '../../lib/user-status-store.ts'
import { connectOddRedisClients, connectRedisClients } from '../servers/redis-clients.ts'
import { withPrivateRedis, withRedis } from '../servers/redis.ts'

const alice = { tenant: 'acme', subject: 'alice' }
const login = { status: 'logged_in', at: 1000, requestId: 'r-1' } as const
let made = 0
const freshPrefix = () => `test-${process.pid}-${Date.now()}-${made++}`

/** Each call through the next client: the rules' parallel calls come from several nodes. */
function spread (stores: UserStatusStore[]): UserStatusStore {
  let calls = 0
  const next = () => stores[calls++ % stores.length] as Required<UserStatusStore>
  return {
    get: user => next().get(user),
    compareAndSet: (...args) => next().compareAndSet(...args),
    logOut: (...args) => next().logOut(...args)
  }
}

t.test('on a server that others use too', t => withRedis(t, async ({ url }) => {
  const clients = await connectRedisClients(url)
  t.teardown(clients.end)

  for (const [name, client] of clients.named) {
    await t.test(`the rules, through ${name}`, async t => {
      for (const rule of userStatusStoreRules) {
        await t.resolves(rule.check(() => {
          const store = redisUserStatusStore(client, { prefix: freshPrefix() })
          return { store, set: store.set }
        }), rule.name)
      }
    })
  }

  await t.test('the rules, through all of them at once', async t => {
    for (const rule of userStatusStoreRules) {
      await t.resolves(rule.check(() => {
        const prefix = freshPrefix()
        const stores = clients.named.map(([, client]) => redisUserStatusStore(client, { prefix }))
        return { store: spread(stores), set: async (user, status) => stores[0]?.set(user, status) }
      }), rule.name)
    }
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
    for (const user of [alice, { tenant: '', subject: 'alice' }, { tenant: 'acme', subject: 'acme:alice' }, { tenant: 'acme:acme', subject: 'alice' }, { tenant: ':acme', subject: 'alice' }]) {
      t.equal(await outer.get(user), undefined)
    }
  })

  await t.test('a record stays until it is removed, and its version never fits a new one', async t => {
    const prefix = freshPrefix()
    const store = redisUserStatusStore(clients.ioredis, { prefix })
    await store.compareAndSet(alice, undefined, login)
    t.equal(await clients.ioredis.ttl(`${prefix}:acme:alice`), -1)
    t.equal(await clients.ioredis.hget(`${prefix}:acme:alice`, 'requestId'), 'r-1')
    const version = (await store.get(alice))?.version
    await store.remove(alice)
    await store.remove(alice)
    t.equal(await store.get(alice), undefined)
    await store.set(alice, 'logged_in')
    t.equal(await store.compareAndSet(alice, version, login), false)
  })

  await t.test('set keeps the times of a user', async t => {
    const store = redisUserStatusStore(clients.iovalkey, { prefix: freshPrefix() })
    await store.compareAndSet(alice, undefined, login)
    await store.logOut(alice, { at: 2000, requestId: 'r' })
    await store.set(alice, 'suspended')
    t.match(await store.get(alice), { status: 'suspended', lastSeenAt: 1000, loggedOutAt: 2000 })
  })

  await t.test('a key of another type is a rejection, not an answer', async t => {
    const prefix = freshPrefix()
    await clients.ioredis.set(`${prefix}:acme:alice`, 'x')
    const store = redisUserStatusStore(clients.ioredis, { prefix })
    await t.rejects(store.get(alice), /WRONGTYPE/)
    await t.rejects(store.logOut(alice, { at: 1, requestId: 'r' }), /WRONGTYPE/)
  })
}))

t.test('the rules, through clients with options that change the types of replies', t => withPrivateRedis(t, async ({ url }) => {
  const { named, end } = await connectOddRedisClients(url)
  t.teardown(end)
  for (const [name, client] of named) {
    for (const rule of userStatusStoreRules) {
      await t.resolves(rule.check(() => {
        const store = redisUserStatusStore(client, { prefix: freshPrefix() })
        return { store, set: store.set }
      }), `${name}: ${rule.name}`)
    }
  }
}))

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
  t.equal((await store.logOut(alice, { at: 1, requestId: 'r' }))?.status, 'logged_in', 'a server that forgot the scripts is told them again')
  t.strictSame(await clients.ioredis.keys('*'), ['logout-user-status:acme:alice'], 'and one user is one key')
}))

t.test('the rules, on a cluster', t => withPrivateRedis(t, async ({ url, port }) => {
  const node = new Redis(url)
  await node.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
  while (!/cluster_state:ok/.test(String(await node.call('CLUSTER', 'INFO')))) await sleep(20)
  const ioredis = new Cluster([{ host: '127.0.0.1', port }])
  const nodeRedis = createCluster({ rootNodes: [{ url }] })
  await nodeRedis.connect()
  t.teardown(() => { node.disconnect(); ioredis.disconnect(); nodeRedis.destroy() })
  for (const rule of userStatusStoreRules) {
    await t.resolves(rule.check(() => {
      const prefix = freshPrefix()
      const stores = [redisUserStatusStore(ioredis, { prefix }), redisUserStatusStore(nodeRedis, { prefix })]
      return { store: spread(stores), set: async (user, status) => stores[0]?.set(user, status) }
    }), rule.name)
  }
}, { config: { 'cluster-enabled': 'yes', 'cluster-announce-ip': '127.0.0.1' } }))

t.test('a wrong client or prefix is a TypeError that names it', async t => {
  for (const client of [undefined, null, {}, 'redis://127.0.0.1']) {
    t.throws(() => redisUserStatusStore(client as RedisClient), { name: 'TypeError', message: /redisUserStatusStore: pass a client/ })
  }
  const client = { evalsha: async () => {}, eval: async () => {} }
  for (const prefix of ['', '{a}', 'a b', 'a*', 'a\n', 'ä', 'a'.repeat(101), 1]) {
    t.throws(() => redisUserStatusStore(client, { prefix: prefix as string }), { name: 'TypeError', message: /prefix/ })
  }
})

t.test('other errors of the server than a missing script are not tried again', async t => {
  let calls = 0
  const client = {
    evalsha: async () => { calls += 1; throw new Error('READONLY You can\'t write against a read only replica.') },
    eval: async () => { calls += 1 }
  }
  await t.rejects(redisUserStatusStore(client).set(alice, 'logged_in'), /READONLY/)
  t.equal(calls, 1)
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
