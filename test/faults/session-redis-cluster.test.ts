import { Cluster } from 'ioredis'
import { createCluster } from 'redis'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { sessionStoreRules } from '../../lib/conformance/session-store.ts'
import type { RedisClient } from '../../lib/internal/databases/redis.ts'
import type { SessionStore } from '../../lib/session-store.ts'
import { redisSessionStore } from '../../lib/session-stores/redis.ts'
import { tokenDigest } from '../../lib/token-digest.ts'
import {
  connectRedisClusters, failOver, loadOf, moveSlotOf, reshard, serverOf, withPrivateRedisCluster
} from '../servers/redis-cluster.ts'
import { spread } from '../session-stores/spread.ts'
import { inTurn, loseNothing } from './session-load.ts'
import { create, tokenOf } from './session-survival.ts'

t.test('sessions on a cluster of three primaries', t => withPrivateRedisCluster(t, 3, async servers => {
  const { named, end } = await connectRedisClusters(servers)
  t.teardown(end)

  for (const [name, client] of Object.entries(named)) {
    await t.test(`the rules, through ${name}`, async t => {
      const store = redisSessionStore(client, { prefix: 'rules' })
      for (const rule of sessionStoreRules) await t.resolves(rule.check(() => store), rule.name)
    })
  }

  await t.test('the rules, through all of them at once', async t => {
    const store = spread(Object.values(named).map(client => redisSessionStore(client, { prefix: 'rules' })))
    for (const rule of sessionStoreRules) await t.resolves(rule.check(() => store), rule.name)
  })

  await t.test('keys and commands are shared out over the three', async t => {
    const before = await loadOf(servers)
    const store = redisSessionStore(named.ioredis)
    const ids = Array.from({ length: 600 }, (_, index) => `shared-${index}`)
    await inTurn(ids, id => create(store, id, `subject ${id}`))
    await inTurn(ids, id => store.logOut(tokenOf(id)))
    const after = await loadOf(servers)
    for (const measure of ['keys', 'commands'] as const) {
      const shares = servers.map((_, index) => (after[index]?.[measure] ?? 0) - (before[index]?.[measure] ?? 0))
      const all = shares.reduce((sum, share) => sum + share)
      t.ok(shares.every(share => share > all / 5), `${measure}: ${shares}`)
    }
  })

  for (const [name, client] of Object.entries(named)) {
    await t.test(`in the middle of a move, every session is as it was, through ${name}`, async t => {
      const prefix = name.replaceAll(/\W+/g, '-')
      const store = redisSessionStore(client, { prefix })
      const keysOf = (subject: string) => [`s:${tokenDigest(tokenOf(subject))}`, `i:${subject}`, `u:${subject}`]
      for (const kind of [0, 1, 2]) {
        const subject = `moving-${kind}`
        const idsOf = (moment: string) => ['by-token', 'by-id', 'live'].map(id => `${subject}-${moment}-${id}`)
        for (const id of [subject, ...idsOf('before'), ...idsOf('after')]) await create(store, id, subject)
        const key = `${prefix}:${keysOf(subject)[kind]}`
        const from = await serverOf(key, servers)
        await moveSlotOf(key, servers, { from, to: (from + 1) % 3 }, async moment => {
          const [byToken, byId, live] = idsOf(moment) as [string, string, string]
          t.equal((await store.find(tokenOf(subject)))?.status, 'active', `${key}, ${moment}`)
          t.equal((await store.logOut(tokenOf(byToken)))?.status, 'active')
          t.equal((await store.logOutById({ id: byId, subject }))?.status, 'active')
          const found = await Promise.all([byToken, byId, live].map(id => store.find(tokenOf(id))))
          t.strictSame(found.map(session => session?.status), ['logged_out', 'logged_out', 'active'])
          t.ok((await store.list({ subject, limit: 9 })).some(({ id }) => id === subject))
          await create(store, `${live}-new`, subject)
          t.equal((await store.find(tokenOf(`${live}-new`)))?.status, 'active')
        })
        t.equal((await store.logOutById({ id: subject, subject }))?.status, 'active')
        t.equal(await store.logOutSubject({ subject, count: true }), 4)
      }
    })
  }

  for (const [place, name] of (['ioredis', 'node-redis'] as const).entries()) {
    await t.test(`slots that move under load lose no logout, and refuse no live session, through ${name}`, async t => {
      const [store, other] = [redisSessionStore(named[name]), redisSessionStore(named.iovalkey)]
      await loseNothing(t, { name, store, other, move: () => reshard(servers, { from: place, to: place + 1, slots: 1200 }) })
    })
  }
}))

t.test('a replica that takes the place of its primary under load loses no logout', t => withPrivateRedisCluster(t, 3, async servers => {
  const { named, end } = await connectRedisClusters(servers)
  t.teardown(end)

  await t.test('the rules, through clients that read from replicas: scripts go to the primary', async t => {
    const ioredis = new Cluster(servers.map(({ port }) => ({ host: '127.0.0.1', port })), { scaleReads: 'slave' })
    const nodeRedis = await createCluster({ rootNodes: servers.map(({ url }) => ({ url })), useReplicas: true }).connect()
    t.teardown(() => { ioredis.disconnect(); nodeRedis.destroy() })
    const store = spread([ioredis, nodeRedis].map(client => redisSessionStore(client as RedisClient, { prefix: 'replica-reads' })))
    for (const rule of sessionStoreRules) await t.resolves(rule.check(() => store), rule.name)
  })

  for (const [name, place] of [['ioredis', 3], ['node-redis', 0]] as const) {
    await t.test(`through ${name}`, async t => {
      const [store, other] = [redisSessionStore(named[name]), redisSessionStore(named.iovalkey)]
      await knowsEverySlot(store)
      await loseNothing(t, { name, store, other, move: () => sleep(300).then(() => failOver(servers[place])).then(() => sleep(1000)) })
    })
  }
}, 1))

/** A client that missed a failover learns of it with its next commands, some of which may fail. */
async function knowsEverySlot (store: SessionStore): Promise<void> {
  const failing = async () => (await Promise.allSettled(Array.from({ length: 100 }, (_, index) => store.find(`${index}`))))
    .some(({ status }) => status === 'rejected')
  while (await failing()) await sleep(50)
}
