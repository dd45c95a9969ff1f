import t from 'tap'
import { providerSessionIndexRules } from '../../lib/conformance/provider-session-index.ts'
import { redisProviderSessionIndex } from '../../lib/provider-session-indexes/redis.ts'
import { spread } from '../provider-session-indexes/spread.ts'
import { connectRedisClusters, loadOf, reshard, withPrivateRedisCluster } from '../servers/redis-cluster.ts'

const hour = 3_600_000
const issuer = 'https://login.example'
const session = (sessionId: string) => ({ sessionId, subject: 'alice' })

t.test('the index on a cluster of three primaries', t => withPrivateRedisCluster(t, 3, async servers => {
  const { named, end } = await connectRedisClusters(servers)
  t.teardown(end)

  for (const [name, client] of Object.entries(named)) {
    await t.test(`the rules, through ${name}`, async t => {
      const index = redisProviderSessionIndex(client, { prefix: 'rules' })
      for (const rule of providerSessionIndexRules) await t.resolves(rule.check(() => index), rule.name)
    })
  }

  await t.test('the rules, through all of them at once', async t => {
    const index = spread(Object.values(named).map(client => redisProviderSessionIndex(client, { prefix: 'rules' })))
    for (const rule of providerSessionIndexRules) await t.resolves(rule.check(() => index), rule.name)
  })

  await t.test('keys and commands are shared out over the three, also while slots move, and no login is missed', async t => {
    const before = await loadOf(servers)
    const [index, other] = [redisProviderSessionIndex(named.ioredis), redisProviderSessionIndex(named.iovalkey)]
    const until = Date.now() + hour
    const ids = Array.from({ length: 600 }, (_, place) => `user ${place}`)
    const moving = reshard(servers, { from: 0, to: 1, slots: 1200 })
    const missed: string[] = []
    for (const id of ids) {
      const login = { issuer, subject: id, sid: id, issuedAt: 1000 }
      const [verdict, found] = await Promise.all([
        index.bind(login, session(id), until), other.logOut({ issuer, sid: id, cutoff: 1000, until })
      ])
      if (verdict === 'live' && found.length === 0) missed.push(id)
      const again = await other.logOut({ issuer, subject: id, cutoff: 1000, until })
      if (again[0]?.sessionId !== id) missed.push(id)
    }
    await moving
    t.strictSame(missed, [])
    const after = await loadOf(servers)
    for (const measure of ['keys', 'commands'] as const) {
      // Keys of before are counted too: those in the slots that moved have left one server and come to another.
      const start = measure === 'keys' ? [] : before
      const shares = servers.map((_, place) => (after[place]?.[measure] ?? 0) - (start[place]?.[measure] ?? 0))
      const all = shares.reduce((sum, share) => sum + share)
      t.ok(shares.every(share => share > all / 8), `${measure}: ${shares}`)
    }
  })
}))
