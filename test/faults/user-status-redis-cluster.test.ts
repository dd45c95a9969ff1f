import t from 'tap'
import { userStatusStoreRules } from '../../lib/conformance/user-status-store.ts'
import { redisRateLimitStore } from '../../lib/rate-limit-stores/redis.ts'
import { redisUserStatusStore } from '../../lib/user-status-stores/redis.ts'
import { connectRedisClusters, loadOf, moveSlotOf, reshard, serverOf, withPrivateRedisCluster } from '../servers/redis-cluster.ts'
import { spread } from '../user-status-stores/spread.ts'
import { inTurn } from './session-load.ts'

const userOf = (subject: string) => ({ tenant: 'acme', subject })
const change = { at: 1000, requestId: 'r' }

t.test('users and counts on a cluster of three primaries', t => withPrivateRedisCluster(t, 3, async servers => {
  const { named, end } = await connectRedisClusters(servers)
  t.teardown(end)

  await t.test('the rules of user-status stores, through all clients at once', async t => {
    await Promise.all(userStatusStoreRules.map(async (rule, index) => {
      const stores = Object.values(named).map(client => redisUserStatusStore(client, { prefix: `rule-${index}` }))
      await t.resolves(rule.check(() => ({ store: spread(stores), set: async (user, status) => stores[0]?.set(user, status) })), rule.name)
    }))
  })

  await t.test('keys and commands are shared out over the three', async t => {
    const before = await loadOf(servers)
    const users = redisUserStatusStore(named.ioredis)
    const subjects = Array.from({ length: 600 }, (_, index) => `shared-${index}`)
    await inTurn(subjects, subject => users.set(userOf(subject), 'logged_in'))
    await inTurn(subjects, subject => users.logOut(userOf(subject), change))
    const after = await loadOf(servers)
    for (const measure of ['keys', 'commands'] as const) {
      const shares = servers.map((_, index) => (after[index]?.[measure] ?? 0) - (before[index]?.[measure] ?? 0))
      t.ok(shares.every(share => share > shares.reduce((sum, each) => sum + each) / 5), `${measure}: ${shares}`)
    }
  })

  for (const [name, client] of Object.entries(named)) {
    await t.test(`in the middle of a move, every user and count is as it was, through ${name}`, async t => {
      const prefix = name.replaceAll(/\W+/g, '-')
      const users = redisUserStatusStore(client, { prefix })
      const counters = new (redisRateLimitStore(client, { prefix: `${prefix}-counts` }))({})
      const hit = () => new Promise(resolve => counters.incr('alice', (error, count) => resolve(error ?? count?.current), 600_000))
      const alice = userOf('alice')
      await users.set(alice, 'logged_in')
      t.equal(await hit(), 1)
      for (const key of [`${prefix}:acme:alice`, `${prefix}-counts:/alice`]) {
        const from = await serverOf(key, servers)
        await moveSlotOf(key, servers, { from, to: (from + 1) % 3 }, async moment => {
          t.equal((await users.logOut(alice, change))?.status, 'logged_in', `${key}, ${moment}`)
          const loggedOut = await users.get(alice)
          t.equal(loggedOut?.status, 'logged_out')
          t.equal(await users.compareAndSet(alice, undefined, { ...change, status: 'logged_in' }), false, 'the user is there')
          t.equal(await users.compareAndSet(alice, loggedOut?.version, { ...change, status: 'logged_in' }), true)
          await users.set(alice, 'logged_in')
          t.type(await hit(), 'number')
        })
      }
      t.equal(await hit(), 6)
    })
  }

  for (const [place, name] of (['iovalkey', 'node-redis'] as const).entries()) {
    await t.test(`slots that move under load lose no logout and no count, through ${name}`, async t => {
      const users = redisUserStatusStore(named[name], { prefix: name })
      const counters = new (redisRateLimitStore(named[name], { prefix: `${name}-counts`, timeout: 10_000 }))({})
      const subjects = Array.from({ length: 4000 }, (_, index) => `user-${index}`)
      await inTurn(subjects, subject => users.set(userOf(subject), 'logged_in'))

      const seen = { moving: true, ended: [] as string[], strange: [] as unknown[], hits: 0, failed: 0 }
      const waiting = [...subjects]
      const logOut = async () => {
        for (let subject = waiting.shift(); subject !== undefined && seen.moving; subject = waiting.shift()) {
          const before = await users.logOut(userOf(subject), change).catch(() => 'failed' as const)
          if (before === 'failed') seen.failed++
          else if (before?.status === 'logged_in') seen.ended.push(subject)
          else seen.strange.push([subject, before])
        }
      }
      const hit = async () => {
        for (let index = 0; seen.moving; index++) {
          const error = await new Promise(resolve => counters.incr(`key-${index % 200}`, resolve, 600_000))
          if (error === null) seen.hits++
          else seen.failed++
        }
      }
      const moved = reshard(servers, { from: place, to: place + 1, slots: 1200 }).finally(() => { seen.moving = false })
      await Promise.all([moved, ...Array.from({ length: 8 }, logOut), hit(), hit()])

      t.comment(`${seen.ended.length} logouts, ${seen.hits} hits, ${seen.failed} calls failed`)
      t.ok(seen.ended.length > 100 && seen.hits > 100, 'there was a load')
      t.strictSame(seen.strange, [], 'no user was unknown or logged out before')
      const lost: string[] = []
      await inTurn(seen.ended, async subject => {
        if ((await users.get(userOf(subject)))?.status !== 'logged_out') lost.push(subject)
      })
      t.strictSame(lost, [])
      let counted = 0
      await inTurn(Array.from({ length: 200 }, (_, index) => `key-${index}`), async key => {
        const current = await new Promise<number>(resolve => counters.read(key, (_error, count) => resolve(count?.current ?? NaN)))
        counted += current
      })
      t.ok(counted >= seen.hits && counted <= seen.hits + seen.failed, `${counted} of ${seen.hits} hits were counted`)
      t.ok(seen.failed < 20)
    })
  }
}))
