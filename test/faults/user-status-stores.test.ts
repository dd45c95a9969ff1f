import Fastify from 'fastify'
import { Redis } from 'ioredis'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import t, { type Test } from 'tap'

import { tenantStatusLogout, type TenantStatusLogoutOptions } from '../../lib/flows/tenant-status.ts'
import { redisRateLimitStore } from '../../lib/rate-limit-stores/redis.ts'
import type { UserRecords, UserStatusStore } from '../../lib/user-status-store.ts'
import { memoryUserStatusStore } from '../../lib/user-status-stores/memory.ts'
import { mysqlUserStatusStore } from '../../lib/user-status-stores/mysql.ts'
import { postgresUserStatusStore } from '../../lib/user-status-stores/postgres.ts'
import { redisUserStatusStore } from '../../lib/user-status-stores/redis.ts'
import { killConnections, mysqlPool, withPrivateMysql } from '../servers/mysql.ts'
import { withPrivatePostgres } from '../servers/postgres.ts'
import type { PrivateServer } from '../servers/private-process.ts'
import { connectRedisClients } from '../servers/redis-clients.ts'
import { withPrivateRedis } from '../servers/redis.ts'

const timeout = 300
/** What a busy machine may add to a timeout. Without one, nothing here would end at all. */
const leeway = 5000
const tenantToken = 'tenant-t0ken-5ecret'
const internal = { message: 'Something went wrong on our side.', code: 'INTERNAL_SERVER', status: 500 }

type Store = UserStatusStore & UserRecords

/** A host with our logout, its users in this store. */
async function host (users: Store, options: Partial<TenantStatusLogoutOptions> = {}) {
  const app = Fastify()
  const edges: string[] = []
  await app.register(tenantStatusLogout, {
    users,
    authenticateTenant: token => token === tenantToken ? 'acme' : undefined,
    verifyToken: token => ({ sub: token.replace('user-t0ken-5ecret-', ''), tenant: 'acme' }),
    onLogout: ({ subject }) => { edges.push(subject) },
    route: { rateLimit: { max: 1_000_000 } },
    timeout,
    ...options
  })
  return {
    edges,
    async logOut (subject: string) {
      const start = performance.now()
      const answer = await app.inject({
        url: '/auth/logout', headers: { 'x-tenant-token': tenantToken, 'x-token': `user-t0ken-5ecret-${subject}` }
      })
      return { status: answer.statusCode, body: answer.json(), took: performance.now() - start, headers: answer.headers }
    }
  }
}

type Host = Awaited<ReturnType<typeof host>>

const user = (subject: string) => ({ tenant: 'acme', subject })
const subjects = (from: string, count: number) => Array.from({ length: count }, (_, i) => `${from}-${i}`)

interface Backend {
  readonly store: Store
  /** A further node: a store on a client of its own. */
  readonly other: Store
  cutConnections (): Promise<unknown>
}

async function survives (t: Test, server: PrivateServer, { store, other, cutConnections }: Backend) {
  const node = await host(store)
  const everybody = subjects('user', 600)
  await Promise.all([...everybody, ...subjects('cut', 100), 'frozen'].map(subject => store.set(user(subject), 'logged_in')))

  await t.test('frozen: 500 at the timeout, and a retry after the thaw succeeds', async t => {
    server.freeze()
    const late = await node.logOut('frozen')
    server.thaw()
    t.equal(late.status, 500)
    t.match(late.body, { error: internal })
    t.ok(late.took >= timeout - 5 && late.took < timeout + leeway, `answered after ${late.took} ms`)
    t.equal((await node.logOut('frozen')).status, 200)
    t.equal((await other.get(user('frozen')))?.status, 'logged_out')
  })

  await t.test('connections cut: every logout that was answered 200 is stored, and reported once', async t => {
    const cut = subjects('cut', 100)
    const running = cut.map(async (subject, i) => {
      await sleep(i)
      return node.logOut(subject)
    })
    // On a busy machine all of them might begin while connections are cut, and none end in time.
    await running[0]
    for (let i = 0; i < 5; i++) {
      await sleep(20)
      await cutConnections()
    }
    const answers = await Promise.all(running)
    t.ok(answers.every(({ status }) => status === 200 || status === 500))
    t.ok(answers.every(({ took }) => took < timeout + leeway))
    const succeeded = cut.filter((_, i) => answers[i]?.status === 200)
    t.ok(succeeded.length > 0)
    t.ok(await allLoggedOut(other, succeeded))
    t.strictSame(succeeded.filter(subject => !node.edges.includes(subject)), [], `each of ${succeeded.length} was reported`)
    await Promise.all(cut.map(async subject => t.equal((await until200(node, subject)), 200)))
    t.ok(await allLoggedOut(other, cut))
    t.equal(new Set(node.edges).size, node.edges.length, 'nobody was reported twice')
  })

  await t.test('killed in the middle of a load, and started again: every 200 is still logged out', async t => {
    const answers = new Map<string, Awaited<ReturnType<Host['logOut']>>>()
    const succeeded = () => everybody.filter(subject => answers.get(subject)?.status === 200)
    let killed: Promise<void> | undefined
    const waiting = [...everybody]
    await Promise.all(Array.from({ length: 20 }, async () => {
      for (let subject = waiting.shift(); subject !== undefined; subject = waiting.shift()) {
        const answer = await node.logOut(subject)
        answers.set(subject, answer)
        if (succeeded().length >= 100) killed ??= server.kill()
        if (answer.status !== 200) break
      }
    }))
    await killed
    await server.start()

    const failed = [...answers.values()].filter(({ status }) => status !== 200)
    t.ok(failed.length > 0, `${failed.length} failed`)
    for (const { status, body } of failed) t.match({ status, body }, { status: 500, body: { error: internal } })
    t.ok([...answers.values()].every(({ took }) => took < timeout + leeway), 'nothing hangs')
    t.equal(await until200(node, 'user-0'), 200, 'the node finds the server again')
    t.ok(await allLoggedOut(other, succeeded()), `${succeeded().length} are still logged out`)
    t.equal((await other.get(user(String(waiting.at(-1)))))?.status, 'logged_in', 'and nobody else is')
  })
}

async function until200 ({ logOut }: Host, subject: string): Promise<number> {
  let status = 0
  for (let attempt = 0; attempt < 20 && status !== 200; attempt++) status = (await logOut(subject)).status
  return status
}

async function allLoggedOut (store: Store, names: string[]): Promise<boolean> {
  const records = await Promise.all(names.map(subject => getAgain(store, subject)))
  return records.every(record => record?.status === 'logged_out' && record.loggedOutAt !== undefined)
}

/** The pool of the reader may still hold connections that were cut. */
async function getAgain (store: Store, subject: string, attempts = 5): Promise<Awaited<ReturnType<Store['get']>>> {
  try {
    return await store.get(user(subject))
  } catch (error) {
    if (attempts === 0) throw error
    await sleep(50)
    return getAgain(store, subject, attempts - 1)
  }
}

function filesHold (directory: string, text: string): boolean {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .map(name => join(directory, name)).filter(path => statSync(path).isFile())
    .some(path => readFileSync(path, 'latin1').includes(text))
}

t.test('Redis that writes every change to its log', t => withPrivateRedis(t, async server => {
  const clients = await connectRedisClients(server.url)
  t.teardown(clients.end)
  for (const [name, client] of [['ioredis', clients.ioredis], ['node-redis', clients.nodeRedis]] as const) {
    await t.test(name, async t => {
      await survives(t, server, {
        store: redisUserStatusStore(client, { prefix: name }),
        other: redisUserStatusStore(clients.iovalkey, { prefix: name }),
        cutConnections: () => clients.iovalkey.call('CLIENT', 'KILL', 'TYPE', 'normal')
      })
    })
  }
  t.ok(filesHold(server.directory, 'user-1'), 'its files hold the users')
  t.notOk(filesHold(server.directory, '5ecret'), 'and no token')
}, { config: { appendonly: 'yes', appendfsync: 'always' } }))

t.test('MySQL', t => withPrivateMysql(t, async server => {
  const [pool, otherPool] = [mysqlPool(t, server.url, { connectionLimit: 10 }), mysqlPool(t, server.url, { connectionLimit: 10 })]
  const store = mysqlUserStatusStore(pool)
  await store.migrate()
  await survives(t, server, { store, other: mysqlUserStatusStore(otherPool), cutConnections: () => killConnections(otherPool) })
  t.ok(filesHold(server.directory, 'user-1'), 'its files hold the users')
  t.notOk(filesHold(server.directory, '5ecret'), 'and no token')

  await t.test('a server that only reads: 500, and nothing changes', async t => {
    await store.set(user('reader'), 'logged_in')
    const node = await host(mysqlUserStatusStore(mysqlPool(t, server.url, {}, ['SET SESSION TRANSACTION READ ONLY'])))
    t.match(await node.logOut('reader'), { status: 500, body: { error: internal } })
    t.equal((await store.get(user('reader')))?.status, 'logged_in')
  })
}, { durable: true }))

t.test('Postgres', t => withPrivatePostgres(t, async server => {
  const pools = [1, 2].map(() => new pg.Pool({ connectionString: server.url, max: 10 }))
  const [pool, otherPool] = pools as [pg.Pool, pg.Pool]
  for (const each of pools) each.on('error', () => {})
  t.teardown(() => Promise.all(pools.map(each => each.end())))
  const store = postgresUserStatusStore(pool)
  await store.migrate()
  await survives(t, server, {
    store,
    other: postgresUserStatusStore(otherPool),
    cutConnections: () => otherPool.query(
      'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = \'client backend\''
    )
  })
  await otherPool.query('CHECKPOINT')
  t.ok(filesHold(server.directory, 'user-1'), 'its files hold the users')
  t.notOk(filesHold(server.directory, '5ecret'), 'and no token')

  await t.test('a server that only reads: 500, and nothing changes', async t => {
    const readOnly = new pg.Pool({ connectionString: server.url, options: '-c default_transaction_read_only=on' })
    t.teardown(() => readOnly.end())
    await store.set(user('reader'), 'logged_in')
    const node = await host(postgresUserStatusStore(readOnly))
    t.match(await node.logOut('reader'), { status: 500, body: { error: internal } })
    t.equal((await store.get(user('reader')))?.status, 'logged_in')
  })

  await t.test('a missing table: 500, and what to do stands in the log only', async t => {
    const node = await host(postgresUserStatusStore(pool, { table: 'nowhere' }))
    const { status, body } = await node.logOut('reader')
    t.match({ status, body }, { status: 500, body: { error: internal } })
    t.notMatch(JSON.stringify(body), /migrate|nowhere/)
  })
}, { durable: true }))

t.test('a full Redis still logs out', t => withPrivateRedis(t, async ({ url }) => {
  const { ioredis, end } = await connectRedisClients(url)
  t.teardown(end)
  const store = redisUserStatusStore(ioredis)
  await store.set(user('alice'), 'logged_in')
  const node = await host(store)
  await ioredis.config('SET', 'maxmemory', '1')
  t.equal((await node.logOut('alice')).status, 200)
  t.equal((await node.logOut('alice')).status, 200)
  t.strictSame(node.edges, ['alice'])
  t.equal((await store.get(user('alice')))?.status, 'logged_out')
}, { config: { 'maxmemory-policy': 'noeviction' } }))

t.test('a read-only replica of Redis: 500, and nothing changes', t => withPrivateRedis(t, async primary => {
  await withPrivateRedis(t, async replica => {
    const [writer, reader] = [new Redis(primary.url), new Redis(replica.url)]
    t.teardown(() => { writer.disconnect(); reader.disconnect() })
    await redisUserStatusStore(writer).set(user('alice'), 'logged_in')
    await reader.replicaof('127.0.0.1', primary.port)
    const store = redisUserStatusStore(reader)
    for (let waited = 0; waited < 300 && await store.get(user('alice')).catch(() => undefined) === undefined; waited++) await sleep(20)
    const node = await host(store)
    t.match(await node.logOut('alice'), { status: 500, body: { error: internal } })
    t.equal((await redisUserStatusStore(writer).get(user('alice')))?.status, 'logged_in')
  })
}, { config: { 'repl-diskless-sync-delay': '0' } }))

t.test('a frozen Redis under the rate limit', t => withPrivateRedis(t, async server => {
  const clients = await connectRedisClients(server.url)
  t.teardown(clients.end)
  for (const [name, client] of clients.named) {
    await t.test(name, async t => {
      const users = memoryUserStatusStore()
      users.set(user('alice'), 'logged_in')
      const store = redisRateLimitStore(client, { prefix: name })
      const open = await host(users, { route: { rateLimit: { store, max: 3 } } })
      const closed = await host(users, { route: { rateLimit: { store, max: 3, whenUnavailable: 'refuse' } } })
      t.match(await open.logOut('alice'), { status: 200, headers: { 'x-ratelimit-remaining': 2 } })
      t.match(await closed.logOut('alice'), { status: 200, headers: { 'x-ratelimit-remaining': 1 } }, 'two nodes count together')

      users.set(user('alice'), 'logged_in')
      server.freeze()
      const [refused, passed] = await Promise.all([closed.logOut('alice'), open.logOut('alice')])
      server.thaw()
      t.match(refused, { status: 500, body: { error: internal } })
      t.equal(passed.status, 200)
      t.equal(passed.headers['x-ratelimit-limit'], undefined, 'no count is made up')
      t.equal(users.get(user('alice'))?.status, 'logged_out')
      for (const { took } of [refused, passed]) t.ok(took >= timeout - 5 && took < timeout + leeway, `answered after ${took} ms`)

      t.equal((await open.logOut('alice')).status, 429, 'what was asked while it was frozen was counted after the thaw')
    })
  }
}))
