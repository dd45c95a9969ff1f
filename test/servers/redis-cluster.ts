import { Redis } from 'ioredis'
import { execFile } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { findProgram, type PrivateServer } from './private-process.ts'
import { busPort, withPrivateRedis } from './redis.ts'

const options = { config: { 'cluster-enabled': 'yes', 'cluster-announce-ip': '127.0.0.1', 'cluster-node-timeout': '2000' } }
const slots = 16_384

/** Runs a test against a Redis cluster of its own: so many servers, each with its share of the slots. Skips as `withPrivateRedis`. */
export async function withPrivateRedisCluster (t: Test, count: number, use: (servers: readonly PrivateServer[]) => Promise<void>): Promise<void> {
  const gather = async (servers: readonly PrivateServer[]): Promise<void> => {
    if (servers.length < count) return withPrivateRedis(t, server => gather([...servers, server]), options)
    await join(servers)
    await use(servers)
  }
  await gather([])
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
export async function reshard (servers: readonly PrivateServer[], move: { readonly from: number, readonly to: number, readonly slots: number }): Promise<void> {
  const cli = findProgram('redis-cli') ?? findProgram('valkey-cli')
  if (cli === undefined) throw new Error('install redis-tools or valkey-tools')
  const [from, to] = await Promise.all([move.from, move.to].map(index => idOf(servers[index])))
  await promisify(execFile)(cli, [
    '--cluster', 'reshard', `127.0.0.1:${servers[0]?.port}`,
    '--cluster-from', String(from), '--cluster-to', String(to), '--cluster-slots', `${move.slots}`, '--cluster-yes', '--cluster-timeout', '5000'
  ], { maxBuffer: 1 << 26 })
}

async function idOf (server: PrivateServer | undefined): Promise<string> {
  const node = new Redis(server?.url ?? '')
  const id = String(await node.call('CLUSTER', 'MYID'))
  node.disconnect()
  return id
}
