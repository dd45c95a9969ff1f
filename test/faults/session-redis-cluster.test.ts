import { Cluster, Redis } from 'ioredis'
import { Cluster as ValkeyCluster } from 'iovalkey'
import { createCluster } from 'redis'
import t, { type Test } from 'tap'
import { sessionStoreRules } from '../../lib/conformance/session-store.ts'
import type { RedisClient } from '../../lib/internal/databases/redis.ts'
import type { SessionStore } from '../../lib/session-store.ts'
import { redisSessionStore } from '../../lib/session-stores/redis.ts'
import type { PrivateServer } from '../servers/private-process.ts'
import { reshard, withPrivateRedisCluster } from '../servers/redis-cluster.ts'
import { spread } from '../session-stores/spread.ts'
import { create, host, tokenOf } from './session-survival.ts'

t.test('sessions on a cluster of three primaries', t => withPrivateRedisCluster(t, 3, async servers => {
  const { named, end } = await connectClusters(servers)
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

interface Nodes {
  readonly name: string
  readonly store: SessionStore
  /** A further node: a store on a client of its own. */
  readonly other: SessionStore
  move (): Promise<void>
}

/** Logs in and out while slots move. Whatever was answered is compared with what a further node sees afterwards. */
async function loseNothing (t: Test, { name, store, other, move }: Nodes) {
  const node = await host(store)
  const idsOf = (from: string, count: number) => Array.from({ length: count }, (_, index) => `${name}-${from}-${index}`)
  const [ending, live, gone] = [idsOf('ending', 4000), idsOf('live', 400), idsOf('gone', 600)]
  await inTurn([...ending, ...live], (id, index) => create(store, id, `${name} subject ${index % 2000} of ${id.includes('live')}`))
  await inTurn(gone, (id, index) => create(store, id, `${name} gone ${index % 300}`))
  await store.logOutSubject({ subject: `${name} gone 299` })

  const seen = { moving: true, ended: [] as string[], refused: [] as unknown[], mistaken: [] as unknown[], untold: 0 }
  const subjectsEnded = [299]
  const untold = () => { seen.untold++ }
  const logOutAll = async () => {
    for (let id = ending.shift(); id !== undefined && seen.moving; id = ending.shift()) {
      const { status } = await node.logOut(id)
      if (status === 204) seen.ended.push(id)
      else if (status === 500) untold()
      else seen.refused.push([id, status])
    }
  }
  const logOutSubjects = async () => {
    for (let subject = 0; subject < 299 && seen.moving; subject++) {
      await Promise.resolve(store.logOutSubject({ subject: `${name} gone ${subject}` })).then(() => { subjectsEnded.push(subject) }, untold)
    }
  }
  const readLive = async () => {
    for (let index = 0; seen.moving; index++) {
      const id = live[index % live.length] as string
      const found = await Promise.resolve(other.find(tokenOf(id))).catch(untold)
      if (found !== undefined && found.status !== 'active') seen.mistaken.push([id, found.status])
    }
  }
  const logIn = async () => {
    for (let index = 0; seen.moving; index++) {
      const id = `${name}-new-${index}`
      await Promise.resolve(create(store, id, `${name} new ${index}`)).then(() => { live.push(id) }, untold)
    }
  }
  const moved = move().finally(() => { seen.moving = false })
  await Promise.all([moved, ...Array.from({ length: 8 }, logOutAll), logOutSubjects(), readLive(), logIn()])

  const later = gone.filter((_, index) => subjectsEnded.includes(index % 300))
  t.comment(`${seen.ended.length} logouts, ${subjectsEnded.length} of subjects, ${live.length} live sessions, ${seen.untold} calls failed`)
  t.ok(seen.ended.length > 100 && subjectsEnded.length > 20, 'there was a load')
  t.ok(seen.untold < 20, 'and nearly every call had an answer')
  t.strictSame(seen.refused, [], 'no live session is refused')
  t.strictSame(seen.mistaken, [], 'no live session is taken for another')
  t.strictSame(await notIn('logged_out', other, [...seen.ended, ...later]), [], 'what was answered is logged out')
  t.strictSame(await notIn('active', other, live), [], 'and nobody else is')
  t.strictSame(node.ended.toSorted(), seen.ended.toSorted(), 'each logout was told once')
}

/** A hundred at once. */
async function inTurn<T> (items: readonly T[], act: (item: T, index: number) => unknown): Promise<void> {
  for (let from = 0; from < items.length; from += 100) await Promise.all(items.slice(from, from + 100).map((item, index) => act(item, from + index)))
}

async function notIn (status: string, store: SessionStore, ids: readonly string[]): Promise<string[]> {
  const others: string[] = []
  await inTurn(ids, async id => {
    if ((await store.find(tokenOf(id)))?.status !== status) others.push(id)
  })
  return others
}

async function loadOf (servers: readonly PrivateServer[]) {
  return Promise.all(servers.map(async ({ url }) => {
    const node = new Redis(url)
    const commands = Number(/cmdstat_evalsha:calls=(\d+)/.exec(await node.info('commandstats'))?.[1])
    const load = { keys: await node.dbsize(), commands }
    node.disconnect()
    return load
  }))
}

async function connectClusters (servers: readonly PrivateServer[]) {
  const nodes = servers.map(({ port }) => ({ host: '127.0.0.1', port }))
  const io = {
    ioredis: new Cluster(nodes),
    iovalkey: new ValkeyCluster(nodes),
    'ioredis, auto-pipelining': new Cluster(nodes, { enableAutoPipelining: true }),
    'iovalkey, auto-pipelining': new ValkeyCluster(nodes, { enableAutoPipelining: true })
  }
  const nodeRedis = createCluster({ rootNodes: servers.map(({ url }) => ({ url })) })
  for (const client of [...Object.values(io), nodeRedis]) client.on('error', () => {})
  await nodeRedis.connect()
  return {
    named: { ...io, 'node-redis': nodeRedis } as unknown as Record<keyof typeof io | 'node-redis', RedisClient>,
    end () {
      for (const client of Object.values(io)) client.disconnect()
      nodeRedis.destroy()
    }
  }
}
