import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Cluster, Redis } from 'ioredis'
import { Cluster as ValkeyCluster } from 'iovalkey'
import { createCluster } from 'redis'
import t, { type Test } from 'tap'
import { sessionStoreRules } from '../../../lib/conformance/session-store.ts'
import type { IoredisLike, RedisClient } from '../../../lib/internal/databases/redis.ts'
import { redisSessionStore } from '../../../lib/session-stores/redis.ts'
import { connectRedisClients } from '../../servers/redis-clients.ts'
import { withPrivateRedis, withRedis } from '../../servers/redis.ts'
import { freshPrefix, newSession, unreliable } from '../../session-stores/redis-session.ts'
import { spread } from '../../session-stores/spread.ts'

t.test('key by key, on a server that others use too', t => withRedis(t, async ({ url }) => {
  const clients = await connectRedisClients(url)
  t.teardown(clients.end)
  const { ioredis } = clients

  for (const [name, client] of clients.named) {
    await t.test(`the rules, through ${name}`, async t => {
      const store = redisSessionStore(client, { prefix: freshPrefix(), cluster: true })
      for (const rule of sessionStoreRules) await t.resolves(rule.check(() => store), rule.name)
    })
  }

  await t.test('the rules, while other nodes use one script for each call', async t => {
    const prefix = freshPrefix()
    const store = spread([true, false, true].map(cluster => redisSessionStore(ioredis, { prefix, cluster })))
    for (const rule of sessionStoreRules) await t.resolves(rule.check(() => store), rule.name)
  })

  await t.test('a login, a list of one and a logout by id take three commands, the others at most two', async t => {
    const { client, faults } = unreliable(ioredis)
    const store = redisSessionStore(client, { prefix: freshPrefix(), cluster: true })
    const verbs: Array<[number, (name: string) => unknown]> = [
      [3, name => store.create(name, newSession({ id: name, subject: name }))],
      [2, name => store.find(name)],
      [3, name => store.list({ subject: name, limit: 1 })],
      [1, name => store.logOutSubject({ subject: `${name}x` })],
      [2, name => store.logOutSubject({ subject: name, except: name, count: true })],
      [2, name => store.logOut(name)],
      [3, name => store.logOutById({ id: name, subject: name })],
      [1, name => store.logOutById({ id: name, subject: `${name}x` })],
      [1, () => store.logOutById({ id: 'unknown' })],
      [1, () => store.logOut('unknown')],
      [1, () => store.find('unknown')],
      [2, name => Promise.resolve(store.create(randomUUID(), newSession({ id: name }))).catch(() => store.find('unknown'))]
    ]
    for (const [, verb] of verbs) await verb('first')
    for (const [commands, verb] of verbs) {
      faults.sent = 0
      await verb('second')
      t.equal(faults.sent, commands, String(verb))
    }
  })

  await t.test('whatever step of a login is lost, its session was never active, and its id is free if the failure is known', async t => {
    const { client, faults } = unreliable(ioredis)
    const prefix = freshPrefix()
    const [cut, store] = [redisSessionStore(client, { prefix, cluster: true }), redisSessionStore(ioredis, { prefix })]
    await cut.create('warm', newSession())
    await t.rejects(cut.create('warm', newSession()), /exists already/)
    for (const lost of [0, 1, 2]) {
      const id = `unsent ${lost}`
      Object.assign(faults, { sent: 0, unsent: [lost], unanswered: [] })
      await t.rejects(cut.create(id, newSession({ id })), /not sent/)
      t.not((await store.find(id))?.status, 'active', id)
      t.notOk((await store.list({ subject: 'alice', limit: 99 })).some(session => session.id === id))
    }
    for (const [lost, status] of [[0, undefined], [1, 'logged_out'], [2, 'active']] as const) {
      const id = `unanswered ${lost}`
      Object.assign(faults, { sent: 0, unsent: [], unanswered: [lost] })
      await t.rejects(cut.create(id, newSession({ id })), /no reply/)
      t.equal((await store.find(id))?.status, status, id)
    }
    await store.create('again', newSession({ id: 'unsent 1' }))
    Object.assign(faults, { sent: 0, unsent: [2], unanswered: [] })
    await t.rejects(cut.create('warm', newSession({ id: 'free' })), /exists already/, 'also when the id cannot be given back')
  })

  await t.test('a logout that is cut short has happened or not: a retry completes it, and the session is seen active once', async t => {
    const { client, faults } = unreliable(ioredis)
    const prefix = freshPrefix()
    const [cut, store] = [redisSessionStore(client, { prefix, cluster: true }), redisSessionStore(ioredis, { prefix })]
    for (const token of ['one', 'two', 'three', 'warm']) await store.create(token, newSession({ id: token }))
    await cut.logOut('warm')
    await cut.logOutById({ id: 'warm' })

    Object.assign(faults, { sent: 0, unsent: [1] })
    await t.rejects(cut.logOut('one'), /not sent/)
    t.equal((await store.find('one'))?.status, 'active')
    t.strictSame([(await cut.logOut('one'))?.status, (await cut.logOut('one'))?.status], ['active', 'logged_out'])

    Object.assign(faults, { sent: 0, unsent: [], unanswered: [1] })
    await t.rejects(cut.logOut('two'), /no reply/)
    t.equal((await store.find('two'))?.status, 'logged_out')
    t.equal((await cut.logOut('two'))?.status, 'logged_out')

    Object.assign(faults, { sent: 0, unsent: [1, 2], unanswered: [] })
    await t.rejects(cut.logOutById({ id: 'three' }), /not sent/)
    t.equal((await store.find('three'))?.status, 'active')
    t.equal((await cut.logOutById({ id: 'three' }))?.status, 'active')
  })

  await t.test('a login whose last step is sent again, after its session was ended, does not bring it back', async t => {
    const prefix = freshPrefix()
    const store = redisSessionStore(ioredis, { prefix })
    const ended: unknown[] = []
    let commands = -99
    const sendingAgain: IoredisLike = {
      eval: (script, ...rest) => ioredis.eval(script, ...rest),
      async evalsha (digest, ...rest) {
        const reply = await ioredis.evalsha(digest, ...rest)
        if (commands++ !== 2) return reply
        ended.push((await store.logOutById({ id: 'id' }))?.status)
        return ioredis.evalsha(digest, ...rest)
      }
    }
    const late = redisSessionStore(sendingAgain, { prefix, cluster: true })
    await late.create('warm', newSession())
    commands = 0
    await late.create('token', newSession({ id: 'id' }))
    t.strictSame(ended, ['active'])
    t.equal((await store.find('token'))?.status, 'logged_out')
  })
}))

const clusterOfOne = { config: { 'cluster-enabled': 'yes', 'cluster-announce-ip': '127.0.0.1' } }

t.test('on a cluster of one server', t => withPrivateRedis(t, async ({ url, port }) => {
  const node = new Redis(url)
  t.teardown(() => node.disconnect())
  await node.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
  while (!/cluster_state:ok/.test(String(await node.call('CLUSTER', 'INFO')))) await sleep(20)
  const nodes = [{ host: '127.0.0.1', port }]
  const clients = {
    ioredis: new Cluster(nodes),
    'ioredis, with a key prefix and auto-pipelining': new Cluster(nodes, { keyPrefix: 'host:', enableAutoPipelining: true }),
    iovalkey: new ValkeyCluster(nodes),
    'iovalkey, auto-pipelining': new ValkeyCluster(nodes, { enableAutoPipelining: true }),
    'node-redis': createCluster({ rootNodes: [{ url }] }),
    'a client that knows nothing of clusters': node
  }
  t.teardown(() => { for (const client of Object.values(clients)) 'destroy' in client ? client.destroy() : client.disconnect() })
  for (const [name, client] of Object.entries(clients)) {
    if ('destroy' in client) await client.connect()
    await rules(t, name, client as RedisClient)
  }
}, clusterOfOne))

async function rules (t: Test, name: string, client: RedisClient) {
  await t.test(`the rules, through ${name}`, async t => {
    const store = redisSessionStore(client, { prefix: freshPrefix() })
    for (const rule of sessionStoreRules) await t.resolves(rule.check(() => store), rule.name)
  })
}
