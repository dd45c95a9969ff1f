import { Redis } from 'ioredis'
import { readFileSync } from 'node:fs'
import type { RowDataPacket } from 'mysql2'
import pg from 'pg'
import t, { type Test } from 'tap'
import { providerSessionIndexRules } from '../../lib/conformance/provider-session-index.ts'
import { revocationFeedRules } from '../../lib/conformance/revocation-feed.ts'
import { revocationStoreRules } from '../../lib/conformance/revocation-store.ts'
import { sessionStoreRules } from '../../lib/conformance/session-store.ts'
import { mysqlProviderSessionIndex } from '../../lib/provider-session-indexes/mysql.ts'
import { postgresProviderSessionIndex } from '../../lib/provider-session-indexes/postgres.ts'
import { redisProviderSessionIndex } from '../../lib/provider-session-indexes/redis.ts'
import { redisRateLimitStore } from '../../lib/rate-limit-stores/redis.ts'
import type { FollowableRevocationStore, RevocationStore } from '../../lib/revocation-store.ts'
import type { SessionStore } from '../../lib/session-store.ts'
import type { ProviderSessionIndex } from '../../lib/provider-session-index.ts'
import type { UserStatusStore } from '../../lib/user-status-store.ts'
import { mysqlRevocationStore } from '../../lib/revocation-stores/mysql.ts'
import { postgresRevocationStore } from '../../lib/revocation-stores/postgres.ts'
import { redisRevocationStore } from '../../lib/revocation-stores/redis.ts'
import { mysqlSessionStore } from '../../lib/session-stores/mysql.ts'
import { postgresSessionStore } from '../../lib/session-stores/postgres.ts'
import { redisSessionStore } from '../../lib/session-stores/redis.ts'
import { mysqlUserStatusStore } from '../../lib/user-status-stores/mysql.ts'
import { postgresUserStatusStore } from '../../lib/user-status-stores/postgres.ts'
import { redisUserStatusStore } from '../../lib/user-status-stores/redis.ts'
import { blocksOf } from '../docs/pages.ts'
import { mysqlPool, withPrivateMysql } from '../servers/mysql.ts'
import { withPrivatePostgres } from '../servers/postgres.ts'
import { withPrivateRedis } from '../servers/redis.ts'

// A user with exactly the permissions that docs/stores.md names can do everything that the stores do after `migrate()`.

const path = 'docs/stores.md'
const [postgresGrants = '', mysqlGrants = '', redisRules = ''] = blocksOf({ path, text: readFileSync(path, 'utf8') })
  .filter(({ runBy }) => runBy === 'test/faults/permissions.test.ts').map(({ code }) => code)

interface Stores {
  readonly sessions: SessionStore & { readonly prune?: () => Promise<number> }
  readonly users: UserStatusStore
  readonly revocations: RevocationStore & Pick<FollowableRevocationStore, 'feed'>
  readonly index: ProviderSessionIndex & { readonly prune?: () => Promise<number> }
}

async function works (t: Test, { sessions, users, revocations, index }: Stores) {
  for (const rule of sessionStoreRules) await t.resolves(Promise.resolve(rule.check(() => sessions)), rule.name)
  for (const rule of revocationStoreRules) await t.resolves(Promise.resolve(rule.check(() => revocations)), rule.name)
  for (const rule of revocationFeedRules) await t.resolves(Promise.resolve(rule.check(() => revocations)), rule.name)
  for (const rule of providerSessionIndexRules) await t.resolves(Promise.resolve(rule.check(() => index)), rule.name)
  await sessions.prune?.()
  await index.prune?.()
  const alice = { tenant: 'acme', subject: 'alice' }
  t.equal(await users.compareAndSet(alice, undefined, { status: 'logged_in', at: 1, requestId: 'a' }), true)
  const known = await users.get(alice)
  t.equal(await users.compareAndSet(alice, known?.version, { status: 'logged_out', at: 2, requestId: 'b' }), true)
  t.equal((await users.get(alice))?.status, 'logged_out')
}

t.test('PostgreSQL: a role that may read and write the tables', t => withPrivatePostgres(t, async ({ url }) => {
  const storesOn = (pool: pg.Pool) => ({
    sessions: postgresSessionStore(pool),
    users: postgresUserStatusStore(pool),
    revocations: postgresRevocationStore(pool),
    index: postgresProviderSessionIndex(pool)
  })
  const owner = new pg.Pool({ connectionString: url, max: 1 })
  t.teardown(() => owner.end())
  for (const store of Object.values(storesOn(owner))) await store.migrate()
  await owner.query(postgresGrants)

  const app = new pg.Pool({ connectionString: url.replace('postgres@', 'app:secret@'), max: 8 })
  t.teardown(() => app.end())
  t.equal((await app.query('SELECT current_user AS name')).rows[0].name, 'app')
  await t.rejects(app.query('DROP TABLE logout_session'), { code: '42501' }, 'it may do nothing else')
  await works(t, storesOn(app))
}))

t.test('MySQL: a user that may read and write the tables', t => withPrivateMysql(t, async ({ url }) => {
  const storesOn = (pool: ReturnType<typeof mysqlPool>) => ({
    sessions: mysqlSessionStore(pool),
    users: mysqlUserStatusStore(pool),
    revocations: mysqlRevocationStore(pool),
    index: mysqlProviderSessionIndex(pool)
  })
  const owner = mysqlPool(t, url)
  for (const store of Object.values(storesOn(owner))) await store.migrate()
  for (const statement of mysqlGrants.split(';').filter(text => text.trim() !== '')) await owner.query(statement)

  const app = mysqlPool(t, url.replace(/\/\/[^@]*@/, '//app:secret@'), { connectionLimit: 8 })
  const [[row]] = await app.query<RowDataPacket[]>('SELECT CURRENT_USER() AS name')
  t.equal(row?.['name'], 'app@%')
  await t.rejects(app.query('DROP TABLE logout_session'), { code: 'ER_TABLEACCESS_DENIED_ERROR' }, 'it may do nothing else')
  await works(t, storesOn(app))
  t.type(await mysqlRevocationStore(app).prune(), 'number')
}))

t.test('Redis: a user with the commands, keys and channel of the stores', t => withPrivateRedis(t, async ({ url }) => {
  const owner = new Redis(url)
  t.teardown(() => owner.disconnect())
  for (const line of redisRules.trim().split('\n')) {
    const [command = '', ...words] = line.split(' ')
    await owner.call(command, ...words)
  }
  const app = new Redis(url, { username: 'app', password: 'secret', socketTimeout: 5000 })
  t.teardown(() => app.disconnect())
  await t.rejects(app.flushall(), { message: /^NOPERM/ }, 'it may do nothing else')
  await t.rejects(app.get('key-of-somebody-else'), { message: /^NOPERM/ })
  await works(t, {
    sessions: redisSessionStore(app),
    users: redisUserStatusStore(app),
    revocations: redisRevocationStore(app),
    index: redisProviderSessionIndex(app)
  })
  const Limit = redisRateLimitStore(app)
  const count = await new Promise((resolve, reject) => {
    new Limit({}).incr('key', (error, count) => { if (error === null) resolve(count?.current); else reject(error) }, 1000)
  })
  t.equal(count, 1)
}))
