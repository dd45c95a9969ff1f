import Fastify from 'fastify'
import { Redis } from 'ioredis'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { kratosLogout } from '../../lib/flows/kratos-native.ts'
import { tenantStatusLogout } from '../../lib/flows/tenant-status.ts'
import { mostUnanswered } from '../../lib/internal/plugin/backlog.ts'
import { redisSessionStore } from '../../lib/session-stores/redis.ts'
import { redisUserStatusStore } from '../../lib/user-status-stores/redis.ts'
import { withPrivateRedis } from '../servers/redis.ts'

const names = Array.from({ length: 100 }, (_, index) => `user-${index}`)

t.test('a Redis that is paused for longer than the timeout: 100 logouts fail with a 5xx, and are reported once later', t => {
  return withPrivateRedis(t, async server => {
    const redis = new Redis(server.url)
    t.teardown(() => redis.disconnect())
    const [sessions, users] = [redisSessionStore(redis), redisUserStatusStore(redis)]
    const now = Date.now()
    for (const name of names) {
      const [createdAt, expiresAt] = [now, now + 600_000]
      await sessions.create(`token of ${name}`, { id: name, subject: name, createdAt, expiresAt, keepUntil: expiresAt })
      await users.set({ tenant: 'acme', subject: name }, 'logged_in')
    }
    const told: Record<'kratos' | 'tenantStatus', string[]> = { kratos: [], tenantStatus: [] }
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(kratosLogout, {
      sessions, timeout: 1000, onLogout: event => { told.kratos.push(event.scope === 'session' ? event.session.subject : '') }
    })
    await app.register(tenantStatusLogout, {
      users,
      timeout: 1000,
      authenticateTenant: () => 'acme',
      verifyToken: token => ({ sub: token, tenant: 'acme' }),
      route: { rateLimit: { max: 10_000 } },
      onLogout: ({ subject }) => { told.tenantStatus.push(subject) }
    })
    const logOut = {
      kratos: async () => Promise.all(names.map(async name => {
        const payload = { session_token: `token of ${name}` }
        return (await app.inject({ method: 'DELETE', url: '/self-service/logout/api', payload })).statusCode
      })),
      tenantStatus: async () => Promise.all(names.map(async name => {
        return (await app.inject({ url: '/auth/logout', headers: { 'x-tenant-token': 'acme', 'x-token': name } })).statusCode
      }))
    }

    for (const flow of ['kratos', 'tenantStatus'] as const) {
      server.freeze()
      const frozen = Promise.all([logOut[flow](), logOut[flow]()])
      await sleep(1500)
      server.thaw()
      t.strictSame(new Set((await frozen).flat()), new Set([500]), `${flow}: both the logouts and their retries fail with 500`)
      const success = flow === 'kratos' ? 204 : 200
      t.strictSame(new Set(await logOut[flow]()), new Set([success]), `${flow}: later retries succeed`)
      for (let waited = 0; waited < 500 && told[flow].length < names.length; waited++) await sleep(10)
      await sleep(50)
      t.strictSame([...told[flow]].sort(), [...names].sort(), `${flow}: each of the 100 logouts is reported once`)
    }
  })
})

t.test('the memory that a frozen Redis costs is bounded', t => withPrivateRedis(t, async server => {
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void
  const heap = async () => {
    for (let round = 0; round < 2; round++) {
      await sleep(200) // Answered requests are let go a little later, some of them only after a first collection.
      collectGarbage()
    }
    return process.memoryUsage().heapUsed / 2 ** 20
  }
  const redis = new Redis(server.url)
  t.teardown(() => redis.disconnect())
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(kratosLogout, { sessions: redisSessionStore(redis), timeout: 1000 })
  let sent = 0
  const logOut = async (count: number) => {
    const answers = await Promise.all(Array.from({ length: count }, async () => {
      return app.inject({ method: 'DELETE', url: '/self-service/logout/api', payload: { session_token: `token ${sent++}` } })
    }))
    return new Set(answers.map(({ statusCode }) => statusCode))
  }
  t.strictSame(await logOut(100), new Set([403]))
  server.freeze()
  t.strictSame(await logOut(mostUnanswered), new Set([500]))
  const full = await heap()
  for (let burst = 0; burst < 4; burst++) t.strictSame(await logOut(mostUnanswered), new Set([500]))
  const grown = await heap() - full
  t.comment(`${full.toFixed(0)} MB when full, ${grown.toFixed(1)} MB more after 20,000 further logouts`)
  t.ok(grown < 30, 'refused logouts keep nothing')
  server.thaw()
  for (let waited = 0; waited < 500 && !(await logOut(1)).has(403); waited++) await sleep(10)
  t.strictSame(await logOut(100), new Set([403]), 'and then it works again')
}))
