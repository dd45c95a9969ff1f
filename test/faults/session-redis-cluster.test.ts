import { Redis } from 'ioredis'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { sessionStoreRules } from '../../lib/conformance/session-store.ts'
import { redisSessionStore } from '../../lib/session-stores/redis.ts'
import type { PrivateServer } from '../servers/private-process.ts'
import { connectRedisClusters, failOver, reshard, withPrivateRedisCluster } from '../servers/redis-cluster.ts'
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

  for (const [place, name] of (['ioredis', 'node-redis'] as const).entries()) {
    await t.test(`slots that move under load lose no logout, and refuse no live session, through ${name}`, async t => {
      const [store, other] = [redisSessionStore(named[name]), redisSessionStore(named.iovalkey)]
      await loseNothing(t, { name, store, other, move: () => reshard(servers, { from: place, to: place + 1, slots: 1200 }) })
    })
  }
}))

async function loadOf (servers: readonly PrivateServer[]) {
  return Promise.all(servers.map(async ({ url }) => {
    const node = new Redis(url)
    const commands = Number(/cmdstat_evalsha:calls=(\d+)/.exec(await node.info('commandstats'))?.[1])
    const load = { keys: await node.dbsize(), commands }
    node.disconnect()
    return load
  }))
}

t.test('a replica that takes the place of its primary under load loses no logout', t => withPrivateRedisCluster(t, 3, async servers => {
  const { named, end } = await connectRedisClusters(servers)
  t.teardown(end)
  for (const [name, place] of [['ioredis', 3], ['node-redis', 0]] as const) {
    await t.test(`through ${name}`, async t => {
      const [store, other] = [redisSessionStore(named[name]), redisSessionStore(named.iovalkey)]
      await loseNothing(t, { name, store, other, move: () => sleep(300).then(() => failOver(servers[place])).then(() => sleep(1000)) })
    })
  }
}, 1))
