import { Redis } from 'ioredis'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import t, { type Test } from 'tap'
import type { ProviderSessionIndex } from '../../lib/provider-session-index.ts'
import { memoryProviderSessionIndex } from '../../lib/provider-session-indexes/memory.ts'
import { postgresProviderSessionIndex } from '../../lib/provider-session-indexes/postgres.ts'
import { redisProviderSessionIndex } from '../../lib/provider-session-indexes/redis.ts'
import { sqliteProviderSessionIndex } from '../../lib/provider-session-indexes/sqlite.ts'
import type { SessionStore } from '../../lib/session-store.ts'
import { memorySessionStore } from '../../lib/session-stores/memory.ts'
import { postgresSessionStore } from '../../lib/session-stores/postgres.ts'
import { redisSessionStore } from '../../lib/session-stores/redis.ts'
import { sqliteSessionStore } from '../../lib/session-stores/sqlite.ts'
import { logoutToken } from '../openid/bad-logout-tokens.ts'
import { clientId, hour, openidHost, path, serve, testIssuer } from '../openid-host.ts'
import { withPrivatePostgres } from '../servers/postgres.ts'
import { withPrivateRedis } from '../servers/redis.ts'
import { sqliteLibraries } from '../servers/sqlite-libraries.ts'

interface Stores {
  readonly sessions: SessionStore
  readonly index: ProviderSessionIndex
}

/** Logs in as a host should: creates the session, binds it, and has a cookie only for a login that is live. */
async function logIn ({ sessions, index }: Stores, issuer: string, id: string, wait = async () => {}): Promise<boolean> {
  const now = Date.now()
  await wait()
  await sessions.create(`token of ${id}`, { id, subject: 'alice', createdAt: now, expiresAt: now + hour, keepUntil: now + hour })
  await wait()
  const login = { issuer, subject: 'alice', sid: id, issuedAt: now - 1000 }
  const verdict = await index.bind(login, { sessionId: id, subject: 'alice' }, now + hour)
  await wait()
  if (verdict === 'live') return true
  await sessions.logOut(`token of ${id}`)
  return false
}

/** A logout token during the login: whatever the order, the user ends up logged out. */
async function checkInterleavings (t: Test, stores: Stores): Promise<void> {
  const issuer = await testIssuer(t)
  const { sendToken } = await serve(t, issuer, openidHost(), { ...stores, timeout: 20_000 })
  const seen = { revoked: 0, ended: 0 }
  for (let round = 0; round < 200; round++) {
    const id = `login ${round}`
    const token = logoutToken(issuer.keyring, { sid: id })
    const some = async () => { for (let turns = Math.random() * 4; turns > 1; turns--) await new Promise(resolve => setImmediate(resolve)) }
    const [hasCookie, answer] = await Promise.all([
      logIn(stores, issuer.url, id, some),
      some().then(() => sleep(Math.random() * 3)).then(() => sendToken(token))
    ])
    t.equal(answer.status, 200)
    const session = await stores.sessions.find(`token of ${id}`)
    if (session?.status !== 'logged_out') t.fail(`${id} is ${session?.status}, and the login got a cookie: ${hasCookie}`)
    seen[hasCookie ? 'ended' : 'revoked']++
  }
  t.comment(`${seen.revoked} logins were revoked, ${seen.ended} were ended`)
}

t.test('a logout token during the login: in memory', t => checkInterleavings(t, {
  sessions: memorySessionStore(), index: memoryProviderSessionIndex()
}))

for (const { name, open, skip } of sqliteLibraries) {
  t.test(`a logout token during the login: SQLite, ${name}`, { skip }, async t => {
    const database = open(':memory:')
    t.teardown(() => database.close())
    const [sessions, index] = [sqliteSessionStore(database), sqliteProviderSessionIndex(database)]
    await sessions.migrate()
    await index.migrate()
    await checkInterleavings(t, { sessions, index })
  })
}

t.test('a logout token during the login: Postgres', t => withPrivatePostgres(t, async ({ url }) => {
  const pool = new pg.Pool({ connectionString: url, connectionTimeoutMillis: 5000, query_timeout: 20_000 })
  t.teardown(() => pool.end())
  const [sessions, index] = [postgresSessionStore(pool), postgresProviderSessionIndex(pool)]
  await sessions.migrate()
  await index.migrate()
  await checkInterleavings(t, { sessions, index })
}))

t.test('a logout token during the login: Redis', t => withPrivateRedis(t, async ({ url }) => {
  const redis = new Redis(url)
  t.teardown(() => redis.disconnect())
  await checkInterleavings(t, { sessions: redisSessionStore(redis), index: redisProviderSessionIndex(redis) })
}))

/** Starts a receiver that kills itself at a step, and returns how to send it a token: the status, or 0 if it died. */
async function startReceiver (t: Test, url: string, issuer: string, step: string) {
  const program = fileURLToPath(new URL('openid-receiver-process.ts', import.meta.url))
  const child = spawn(process.execPath, [...process.execArgv, program, url, issuer, step], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => { child.kill('SIGKILL') })
  const [address] = await once(createInterface(child.stdout), 'line') as [string]
  return async (token: string): Promise<number> => {
    const body = new URLSearchParams({ logout_token: token })
    return fetch(`${address}${path}`, { method: 'POST', body }).then(({ status }) => status, () => 0)
  }
}

t.test('a receiver that is killed at any step: the repeat at another node ends the rest', t => withPrivateRedis(t, async ({ url }) => {
  const issuer = await testIssuer(t)
  const redis = new Redis(url)
  t.teardown(() => redis.disconnect())
  const [sessions, index] = [redisSessionStore(redis), redisProviderSessionIndex(redis)]
  const survivor = await startReceiver(t, url, issuer.url, '')
  for (const step of ['before the index', 'after the index', 'before the second session', 'before what follows']) {
    const now = Date.now()
    const ids = [1, 2, 3].map(place => `${step} ${place}`)
    for (const id of ids) {
      await sessions.create(id, { id, subject: 'alice', createdAt: now, expiresAt: now + hour, keepUntil: now + hour })
      const login = { issuer: issuer.url, subject: step, sid: id, issuedAt: now - 1000 }
      await index.bind(login, { sessionId: id, subject: 'alice' }, now + hour)
    }
    const token = logoutToken(issuer.keyring, { sub: step, sid: undefined })
    const dying = await startReceiver(t, url, issuer.url, step)
    t.equal(await dying(token), 0, `it dies ${step}`)
    const statuses = async () => Promise.all(ids.map(async id => (await sessions.find(id))?.status))
    t.equal((await statuses()).includes('active'), step !== 'before what follows')
    t.equal(await survivor(token), 200)
    t.strictSame(await statuses(), ['logged_out', 'logged_out', 'logged_out'])
  }
}))

t.test('a frozen store is 503 within 2.2 seconds, and the repeat succeeds', t => withPrivateRedis(t, async ({ url, freeze, thaw }) => {
  const issuer = await testIssuer(t)
  const redis = new Redis(url)
  t.teardown(() => redis.disconnect())
  const stores = { sessions: redisSessionStore(redis), index: redisProviderSessionIndex(redis) }
  const { sendToken } = await serve(t, issuer, openidHost(), stores)
  t.ok(await logIn(stores, issuer.url, 'phone'))
  const token = logoutToken(issuer.keyring, { sid: 'phone' })
  t.equal((await sendToken(logoutToken(issuer.keyring, { sid: 'warm' }))).status, 200)
  freeze()
  const start = performance.now()
  t.equal((await sendToken(token)).status, 503)
  const took = performance.now() - start
  t.ok(took < 10_000, `it took ${Math.round(took)} ms`)
  thaw()
  t.equal((await sendToken(token)).status, 200)
  t.equal((await stores.sessions.find('token of phone'))?.status, 'logged_out')
}))

t.test('a token at one node ends a session at another one, with its next request', t => withPrivateRedis(t, async ({ url }) => {
  const issuer = await testIssuer(t)
  const node = (): Stores => {
    const redis = new Redis(url)
    t.teardown(() => redis.disconnect())
    return { sessions: redisSessionStore(redis), index: redisProviderSessionIndex(redis) }
  }
  const [a, b] = [node(), node()]
  const nodeA = await serve(t, issuer, openidHost(), a)
  t.ok(await logIn(b, issuer.url, 'phone'))
  t.equal((await b.sessions.find('token of phone'))?.status, 'active')
  t.equal((await nodeA.sendToken(logoutToken(issuer.keyring, { sid: 'phone' }))).status, 200)
  t.equal((await b.sessions.find('token of phone'))?.status, 'logged_out')
  t.notOk(await logIn(b, issuer.url, 'phone').catch(() => false), 'and no login of before comes late')
}))

t.test('1,000 tokens against stores that fail at random: no session that was answered with 200 is live', async t => {
  const issuer = await testIssuer(t)
  const stores = { sessions: memorySessionStore(), index: memoryProviderSessionIndex() }
  const failing = <Value>(call: () => Value): Value => {
    if (Math.random() < 0.1) throw new Error('down')
    const value = call()
    if (Math.random() < 0.1) throw new Error('the answer is lost')
    return value
  }
  const { sendToken } = await serve(t, issuer, openidHost(), {
    index: { logOut: logout => failing(() => stores.index.logOut(logout)) },
    sessions: { logOutById: query => failing(() => stores.sessions.logOutById(query)) },
    alsoEnd: () => failing(() => {})
  })
  const statuses = new Map<number, number>()
  for (let round = 0; round < 1000; round++) {
    await logIn(stores, issuer.url, `s${round}`)
    const { status } = await sendToken(logoutToken(issuer.keyring, { sid: `s${round}`, aud: clientId }))
    statuses.set(status, (statuses.get(status) ?? 0) + 1)
    const isLive = stores.sessions.find(`token of s${round}`)?.status === 'active'
    if (status === 200 && isLive) t.fail(`s${round} was answered with 200, and is live`)
  }
  t.strictSame([...statuses.keys()].sort(), [200, 503], JSON.stringify([...statuses]))
})
