import { Cluster, Redis } from 'ioredis'
import { Cluster as ValkeyCluster } from 'iovalkey'
import { execFile } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { createCluster } from 'redis'
import type { Test } from 'tap'
import type { RedisClient } from '../../lib/internal/databases/redis.ts'
import { findFirst, type PrivateServer } from './private-process.ts'
import { busPort, withPrivateRedis } from './redis.ts'

const options = { config: { 'cluster-enabled': 'yes', 'cluster-announce-ip': '127.0.0.1', 'cluster-node-timeout': '15000' } }
const slots = 16_384

/**
 * Runs a test against a Redis cluster of its own: so many primaries, each with its share of the slots, and behind them in
 * the list the given number of replicas of the first ones. Skips as `withPrivateRedis`.
 */
export async function withPrivateRedisCluster (
  t: Test, count: number, use: (servers: readonly PrivateServer[]) => Promise<void>, replicas = 0
): Promise<void> {
  const gather = async (servers: readonly PrivateServer[]): Promise<void> => {
    if (servers.length < count + replicas) return withPrivateRedis(t, server => gather([...servers, server]), options)
    const primaries = servers.slice(0, count)
    await join(primaries)
    for (const [index, replica] of servers.slice(count).entries()) await addReplica(primaries, replica, index)
    await use(servers)
  }
  await gather([])
}

/** Lets a replica take the place of its primary, without loss, and waits until it has. */
export async function failOver (replica: PrivateServer | undefined): Promise<void> {
  const node = new Redis(replica?.url ?? '')
  await node.call('CLUSTER', 'FAILOVER')
  while (!/role:master/.test(await node.info('replication'))) await sleep(20)
  node.disconnect()
}

/** Which of the servers has this key. */
export async function serverOf (key: string, servers: readonly PrivateServer[]): Promise<number> {
  const node = new Redis(servers[0]?.url ?? '')
  const slot = Number(await node.call('CLUSTER', 'KEYSLOT', key))
  node.disconnect()
  return servers.findIndex((_, index) => slot < share(index + 1, servers.length))
}

function share (index: number, count: number): number {
  return Math.floor(index * slots / count)
}

async function join (servers: readonly PrivateServer[]): Promise<void> {
  const nodes = servers.map(({ url }) => new Redis(url))
  const tell = async (index: number, ...command: string[]) => String(await nodes[index]?.call('CLUSTER', ...command))
  for (const index of nodes.keys()) {
    await tell(index, 'ADDSLOTSRANGE', `${share(index, nodes.length)}`, `${share(index + 1, nodes.length) - 1}`)
    await tell(index, 'SET-CONFIG-EPOCH', `${index + 1}`)
  }
  for (const { port } of servers.slice(1)) await tell(0, 'MEET', '127.0.0.1', `${port}`, `${busPort(port)}`)
  for (const index of nodes.keys()) {
    while (!new RegExp(`cluster_state:ok[^]*cluster_known_nodes:${nodes.length}\\b`).test(await tell(index, 'INFO'))) await sleep(20)
  }
  for (const node of nodes) node.disconnect()
}

/** Moves so many slots with their keys from one server to another, as an operator does it, while the cluster works. */
export async function reshard (
  servers: readonly PrivateServer[], move: { readonly from: number, readonly to: number, readonly slots: number }
): Promise<void> {
  const cli = findFirst(['redis-cli', 'valkey-cli'])
  if (cli === undefined) throw new Error('install redis-tools or valkey-tools')
  const [from, to] = await Promise.all([move.from, move.to].map(index => idOf(servers[index])))
  await promisify(execFile)(cli, [
    '--cluster', 'reshard', `127.0.0.1:${servers[0]?.port}`,
    '--cluster-from', String(from), '--cluster-to', String(to), '--cluster-slots', `${move.slots}`,
    '--cluster-yes', '--cluster-timeout', '5000'
  ], { maxBuffer: 1 << 26 })
}

/** What a test does in the middle of a move: before the keys of the slot have moved, and when they have. */
export type DuringMove = (moment: 'before' | 'after') => Promise<void>

/** Moves the slot of a key, with everything in it, from one server to another. */
export async function moveSlotOf (
  key: string, servers: readonly PrivateServer[], move: { readonly from: number, readonly to: number }, during: DuringMove = async () => {}
): Promise<void> {
  const nodes = servers.map(({ url }) => new Redis(url))
  const [from, to, target] = [nodes[move.from], nodes[move.to], servers[move.to]]
  const [fromId, toId] = await Promise.all([move.from, move.to].map(index => idOf(servers[index])))
  const slot = String(await from?.call('CLUSTER', 'KEYSLOT', key))
  await to?.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', String(fromId))
  await from?.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', String(toId))
  await during('before')
  for (const name of await from?.call('CLUSTER', 'GETKEYSINSLOT', slot, '1000') as string[]) {
    await from?.call('MIGRATE', '127.0.0.1', `${target?.port}`, name, '0', '5000')
  }
  await during('after')
  for (const node of nodes) await node.call('CLUSTER', 'SETSLOT', slot, 'NODE', String(toId))
  for (const node of nodes) node.disconnect()
}

async function idOf (server: PrivateServer | undefined): Promise<string> {
  const node = new Redis(server?.url ?? '')
  const id = String(await node.call('CLUSTER', 'MYID'))
  node.disconnect()
  return id
}

/** Makes a further server the replica of one of the primaries, and waits until all others know. */
async function addReplica (servers: readonly PrivateServer[], replica: PrivateServer, of: number): Promise<void> {
  const node = new Redis(replica.url)
  const primary = await idOf(servers[of])
  for (const { port } of servers) await node.call('CLUSTER', 'MEET', '127.0.0.1', `${port}`, `${busPort(port)}`)
  while (!String(await node.call('CLUSTER', 'NODES')).includes(primary)) await sleep(20)
  await node.call('CLUSTER', 'REPLICATE', primary)
  while (!/master_link_status:up/.test(await node.info('replication'))) await sleep(20)
  for (const { url } of servers) {
    const other = new Redis(url)
    while (!String(await other.call('CLUSTER', 'NODES')).includes(`slave ${primary}`)) await sleep(20)
    other.disconnect()
  }
  node.disconnect()
}

/** A client of each library, and with auto-pipelining. End them when the test ends. */
export async function connectRedisClusters (servers: readonly PrivateServer[]) {
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

/** How many keys each server has, and how many scripts it has run. */
export async function loadOf (servers: readonly PrivateServer[]) {
  return Promise.all(servers.map(async ({ url }) => {
    const node = new Redis(url)
    const commands = Number(/cmdstat_evalsha:calls=(\d+)/.exec(await node.info('commandstats'))?.[1] ?? 0)
    const load = { keys: await node.dbsize(), commands }
    node.disconnect()
    return load
  }))
}
