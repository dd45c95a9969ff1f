import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import pg from 'pg'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import type { RevocationStore } from '../../lib/revocation-store.ts'
import { mysqlRevocationStore } from '../../lib/revocation-stores/mysql.ts'
import { postgresRevocationStore } from '../../lib/revocation-stores/postgres.ts'
import { redisRevocationStore } from '../../lib/revocation-stores/redis.ts'
import { mysqlPool, withPrivateMysql } from '../servers/mysql.ts'
import { withPrivatePostgres } from '../servers/postgres.ts'
import type { PrivateServer } from '../servers/private-process.ts'
import { withPrivateRedis } from '../servers/redis.ts'
import { tcpProxy } from '../servers/tcp-proxy.ts'
import { eventually } from '../revocation-stores/follow.ts'

const until = Date.now() + 3_600_000
const staleness = 2000
t.jobs = 2

t.test('two processes on one Redis', { buffered: true }, t => withPrivateRedis(t, async server => {
  const redis = new Redis(server.url)
  redis.on('error', () => {})
  t.teardown(() => { redis.disconnect() })
  await twoNodes(t, server, 'redis', redisRevocationStore(redis))
}))

t.test('two processes on one Postgres', { buffered: true }, t => withPrivatePostgres(t, async server => {
  const pool = new pg.Pool({ connectionString: server.url })
  pool.on('error', () => {})
  t.teardown(() => pool.end())
  const store = postgresRevocationStore(pool)
  await store.migrate()
  await twoNodes(t, server, 'postgres', store)
}, { durable: true }))

t.test('two processes on one MySQL', { buffered: true }, t => withPrivateMysql(t, async server => {
  const store = mysqlRevocationStore(mysqlPool(t, server.url), { timeout: 2000 })
  await store.migrate()
  await twoNodes(t, server, 'mysql', store)
}, { durable: true }))

/** We are the first node, and log out; the second is a process of its own, with a guard over a replica, behind a wire that can be cut. */
async function twoNodes (t: Test, server: PrivateServer, kind: 'redis' | 'postgres' | 'mysql', store: RevocationStore) {
  const wire = await tcpProxy(t, server.port)
  await store.revoke({ tokenId: 'before', until })
  const second = await startNode(t, kind, server.url.replace(`:${server.port}`, `:${wire.port}`))

  t.equal(await second.get('/', { tokenId: 'before' }), 401, 'what was revoked before the second node started')
  t.equal(await second.get('/', { tokenId: 'live' }), 200)

  await store.revoke({ tokenId: 'while-up', until }, { subject: 'alice', cutoff: 1000, until })
  await refusedWithin(t, second, { tokenId: 'while-up' }, 'what the first node revokes')
  t.equal(await second.get('/', { subject: 'alice', issuedAt: 1000 }), 401)
  t.equal(await second.get('/', { subject: 'alice', issuedAt: 2000 }), 200, 'a login after the cutoff')

  const [ended, cut, kept] = await Promise.all(['open', 'open-while-cut', 'kept-open'].map(sessionId => second.open({ sessionId })))
  t.same([ended, cut, kept], [open, open, open])
  await store.revoke({ sessionId: 'open', until })
  await endedWithin(t, ended, 'what was open when the first node logged out')
  t.same([cut, kept], [open, open], 'the connections of others stay open')

  wire.cut()
  await store.revoke({ tokenId: 'while-cut', until }, { sessionId: 'open-while-cut', until })
  await store.revoke({ subject: 'alice', cutoff: 500, until })
  await sleep(300)
  t.same(cut, open, 'the second node has not heard of it')
  wire.heal()
  await endedWithin(t, cut, 'what was open when the feed was cut')
  t.same(kept, open)
  await refusedWithin(t, second, { tokenId: 'while-cut' }, 'what was revoked while the feed was cut')
  t.equal(await second.get('/', { subject: 'alice', issuedAt: 1000 }), 401, 'an earlier cutoff that arrives later takes nothing back')

  const later = await startNode(t, kind, server.url)
  for (const tokenId of ['before', 'while-up', 'while-cut']) {
    t.equal(await later.get('/', { tokenId }), 401, `a node that started later: ${tokenId}`)
  }
  await later.end()
  await outages(t, server, store, second)
}

async function outages (t: Test, server: PrivateServer, store: RevocationStore, second: Node) {
  for (const outage of ['freeze', 'kill'] as const) {
    if (outage === 'freeze') server.freeze()
    else await server.kill()
    const asksForLive = async () => second.get('/', { tokenId: 'live' })
    await eventually(async () => await asksForLive() === 503, `${outage}: the replica is too old, and the store cannot tell`)
    const asked = Date.now()
    const byPolicy = await Promise.all(['/', '/allow', '/open'].map(path => second.get(path, { tokenId: 'live' })))
    t.same(byPolicy, [503, 200, 200], `${outage}: each route has its policy`)
    t.ok(Date.now() - asked < 5000, `${outage}: no request hangs`)
    const revoked = await Promise.all(['before', 'while-up', 'while-cut'].map(tokenId => second.get('/', { tokenId })))
    t.same(revoked, [401, 401, 401], `${outage}: what was revoked stays revoked`)
    if (outage === 'freeze') server.thaw()
    else await server.start()
    await eventually(async () => await second.get('/', { tokenId: 'live' }) === 200, `${outage}: it comes back`)
    await eventually(() => takes(store, `after-${outage}`), 'the store takes marks again')
    await refusedWithin(t, second, { tokenId: `after-${outage}` }, `${outage}: and follows again`)
    t.equal(await second.get('/', { tokenId: 'before' }), 401)
  }
}

async function takes (store: RevocationStore, tokenId: string): Promise<boolean> {
  try {
    await store.revoke({ tokenId, until })
    return true
  } catch {
    return false
  }
}

async function refusedWithin (t: Test, node: Node, facts: object, what: string) {
  const started = Date.now()
  await eventually(async () => await node.get('/', facts) === 401, what)
  t.ok(Date.now() - started < staleness + 500, `${what}: after ${Date.now() - started} ms`)
}

async function endedWithin (t: Test, connections: Connections | undefined, what: string) {
  const started = Date.now()
  await eventually(() => connections?.stream === 'ended' && connections.socket === 3000, what)
  t.ok(Date.now() - started < staleness + 500, `${what}: after ${Date.now() - started} ms`)
}

interface Node { get (path: string, facts: object): Promise<number>, open (facts: object): Promise<Connections>, end (): Promise<void> }

/** A stream of events, and a WebSocket: open, or how they came to an end. */
interface Connections { stream: 'open' | 'ended' | 'broken', socket: 'open' | number }

const open: Connections = { stream: 'open', socket: 'open' }

async function startNode (t: Test, kind: string, url: string): Promise<Node> {
  const child: ChildProcess = fork(fileURLToPath(new URL('revocation-node.ts', import.meta.url)), [kind, url])
  t.teardown(() => { child.kill('SIGKILL') })
  const [address] = await once(child, 'message')
  return {
    async get (path, facts) {
      const response = await fetch(`${address}${path}`, { headers: { facts: JSON.stringify(facts) } })
      await response.text()
      return response.status
    },
    open: facts => openConnections(address, { facts: JSON.stringify(facts) }),
    async end () {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
  }
}

async function openConnections (address: string, headers: Record<string, string>): Promise<Connections> {
  const connections = { ...open }
  const { body } = await fetch(`${address}/events`, { headers })
  const reader = body?.getReader()
  await reader?.read()
  const readOn = async () => {
    while ((await reader?.read())?.done === false);
  }
  readOn().then(() => { connections.stream = 'ended' }, () => { connections.stream = 'broken' })

  const socket = new WebSocket(`${address.replace('http', 'ws')}/socket`, { headers })
  await once(socket, 'message')
  socket.on('close', code => { connections.socket = code })
  return connections
}
