import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import pg from 'pg'
import t, { type Test } from 'tap'
import { mysqlRevocationStore } from '../../lib/revocation-stores/mysql.ts'
import { postgresRevocationStore } from '../../lib/revocation-stores/postgres.ts'
import { redisRevocationStore } from '../../lib/revocation-stores/redis.ts'
import { mysqlSessionStore } from '../../lib/session-stores/mysql.ts'
import { postgresSessionStore } from '../../lib/session-stores/postgres.ts'
import { redisSessionStore } from '../../lib/session-stores/redis.ts'
import { mysqlPool, withPrivateMysql } from '../servers/mysql.ts'
import { withPrivatePostgres } from '../servers/postgres.ts'
import type { PrivateServer } from '../servers/private-process.ts'
import { withPrivateRedis } from '../servers/redis.ts'
import { setCookies, type Device } from '../session-host.ts'
import { kinds, type HostOptions, type SourceHost } from '../source-hosts.ts'

const timeout = 500
/** What a busy machine may add to a timeout. */
const leeway = 4000

/** The hosts whose marks or sessions are in the database. */
const databaseKinds = kinds.filter(({ name }) => name !== 'plain functions')

const logOut = async (device: Device, scope = 'current') => {
  const start = performance.now()
  const response = await device.send({ method: 'POST', url: '/logout', payload: { scope } })
  return { status: response.statusCode, took: performance.now() - start, response }
}

/** Fails unless the response is a 503 in time, and the client keeps its cookies. */
function assertUnavailable (t: Test, { status, took, response }: Awaited<ReturnType<typeof logOut>>, message: string) {
  t.equal(status, 503, message)
  t.notOk(setCookies(response).some(({ removed }) => removed), `${message}: the cookies stay`)
  t.ok(took < timeout + leeway, `${message}: answered after ${took} ms`)
}

/** Repeats the logout until the database answers. Resolves the status. */
async function retried (device: Device, scope?: string): Promise<number> {
  let { status } = await logOut(device, scope)
  for (let attempt = 0; attempt < 40 && status === 503; attempt++) {
    await sleep(100)
    status = (await logOut(device, scope)).status
  }
  return status
}

/** Whether the device is logged in, once the database answers again. */
async function isLive ({ isLive }: SourceHost, device: Device): Promise<boolean> {
  for (let attempt = 0; attempt < 40; attempt++) {
    const live = await isLive(device).catch(() => undefined)
    if (live !== undefined) return live
    await sleep(100)
  }
  throw new Error('the database does not come back')
}

/** What a logout must survive, with each kind of host on this server. */
async function survives (t: Test, server: PrivateServer, options: HostOptions) {
  for (const kind of databaseKinds) {
    await t.test(kind.name, async t => {
      const host = await kind.make(t, { timeout, ...options })
      const logIn = async () => [await host.logIn('alice'), await host.logIn('alice')] as const

      for (const scope of ['current', 'others', 'all']) {
        const [laptop, phone] = await logIn()
        await sleep(2)
        const before = laptop.copy()
        host.events.length = 0
        server.freeze()
        try {
          assertUnavailable(t, await logOut(laptop, scope), `frozen, ${scope}`)
        } finally {
          server.thaw()
        }
        const status = await retried(laptop, scope)
        // What was asked while the server was frozen may have happened since: `all` is then a 401, which clears the cookies.
        if (scope === 'all') t.ok([204, 401].includes(status), `${scope}: the retry, ${status}`)
        else t.equal(status, 204, `${scope}: the retry`)
        t.strictSame([await isLive(host, before), await isLive(host, phone)], [scope === 'others', scope === 'current'], `frozen, ${scope}`)
        for (let waited = 0; waited < 40 && host.events.length === 0; waited++) await sleep(25)
        // `others` is told once for each call that the source answered with yes, also if it was late.
        t.ok(host.events.length === 1 || (scope === 'others' && host.events.length === 2), `${scope}: told ${host.events.length} times`)
      }

      const [ended, laptop] = await logIn()
      const kept = [ended.copy(), laptop.copy()] as const
      t.equal((await logOut(ended)).status, 204)
      host.events.length = 0
      await server.kill()
      assertUnavailable(t, await logOut(laptop), 'killed')
      await server.start()
      t.equal(await retried(laptop), 204, 'the retry')
      t.strictSame([await isLive(host, kept[0]), await isLive(host, kept[1])], [false, false], 'what was answered 204 survived')
      t.equal(host.events.length, 1)
    })
  }
}

t.test('Redis: frozen and killed', t => withPrivateRedis(t, async server => {
  const redis = new Redis(server.url)
  redis.on('error', () => {})
  t.teardown(() => { redis.disconnect() })
  await survives(t, server, { revocations: redisRevocationStore(redis), sessionStore: redisSessionStore(redis) })
}, { config: { appendonly: 'yes', appendfsync: 'always' } }))

t.test('Postgres: frozen and killed', t => withPrivatePostgres(t, async server => {
  const pool = new pg.Pool({ connectionString: server.url, connectionTimeoutMillis: 1000, query_timeout: 2000 })
  pool.on('error', () => {})
  t.teardown(() => pool.end())
  const stores = { revocations: postgresRevocationStore(pool), sessionStore: postgresSessionStore(pool) }
  await stores.revocations.migrate()
  await stores.sessionStore.migrate()
  await survives(t, server, stores)
}, { durable: true }))

t.test('MariaDB or MySQL: frozen and killed', t => withPrivateMysql(t, async server => {
  const pool = mysqlPool(t, server.url, { connectTimeout: 1000 })
  const stores = { revocations: mysqlRevocationStore(pool, { timeout: 2000 }), sessionStore: mysqlSessionStore(pool, { timeout: 2000 }) }
  await stores.revocations.migrate()
  await stores.sessionStore.migrate()
  await survives(t, server, stores)
}, { durable: true }))

/** A logout on a database that writes nothing any more, and again after it does. */
async function survivesRefusal (t: Test, options: HostOptions, { refuse, allow }: Record<'refuse' | 'allow', () => Promise<unknown>>) {
  for (const kind of databaseKinds) {
    const host = await kind.make(t, { timeout, ...options })
    const laptop = await host.logIn('alice')
    const before = laptop.copy()
    await refuse()
    const first = await logOut(laptop)
    if (first.status !== 204) assertUnavailable(t, first, kind.name)
    await allow()
    t.equal(await isLive(host, before), first.status !== 204, `${kind.name}: a 204 is the truth`)
    t.equal(await retried(laptop), 204)
    t.strictSame([await isLive(host, before), host.events.length], [false, 1], kind.name)
  }
}

t.test('a full Redis', t => withPrivateRedis(t, async ({ url }) => {
  const redis = new Redis(url)
  t.teardown(() => { redis.disconnect() })
  await survivesRefusal(t, { revocations: redisRevocationStore(redis), sessionStore: redisSessionStore(redis) }, {
    refuse: () => redis.config('SET', 'maxmemory', '1'),
    allow: () => redis.config('SET', 'maxmemory', '0')
  })
}, { config: { 'maxmemory-policy': 'noeviction' } }))

t.test('a Postgres that has become read-only', t => withPrivatePostgres(t, async ({ url }) => {
  const pool = new pg.Pool({ connectionString: url })
  t.teardown(() => pool.end())
  const stores = { revocations: postgresRevocationStore(pool), sessionStore: postgresSessionStore(pool) }
  await stores.revocations.migrate()
  await stores.sessionStore.migrate()
  const admin = new pg.Client({ connectionString: url, options: '-c default_transaction_read_only=off' })
  await admin.connect()
  t.teardown(() => admin.end())
  const readOnly = async (setting: 'on' | 'off') => {
    await admin.query(`ALTER SYSTEM SET default_transaction_read_only = ${setting}`)
    await admin.query('SELECT pg_reload_conf()')
    for (let waited = 0; waited < 200; waited++) {
      const { rows: [row] } = await pool.query('SHOW default_transaction_read_only')
      if (row.default_transaction_read_only === setting) return
      await sleep(10)
    }
  }
  await survivesRefusal(t, stores, { refuse: () => readOnly('on'), allow: () => readOnly('off') })
}))

t.test('a MariaDB or MySQL that has become read-only', t => withPrivateMysql(t, async ({ url }) => {
  const admin = mysqlPool(t, url, { connectionLimit: 1 })
  await admin.query("CREATE USER app IDENTIFIED BY ''")
  await admin.query('GRANT ALL ON test.* TO app')
  const pool = mysqlPool(t, url.replace('root', 'app'))
  const stores = { revocations: mysqlRevocationStore(pool), sessionStore: mysqlSessionStore(pool) }
  await stores.revocations.migrate()
  await stores.sessionStore.migrate()
  await survivesRefusal(t, stores, {
    refuse: () => admin.query('SET GLOBAL read_only = 1'),
    allow: () => admin.query('SET GLOBAL read_only = 0')
  })
}))
