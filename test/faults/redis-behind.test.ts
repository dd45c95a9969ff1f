import { Redis } from 'ioredis'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { redisRevocationStore } from '../../lib/revocation-stores/redis.ts'
import { redisSessionStore } from '../../lib/session-stores/redis.ts'
import { redisUserStatusStore } from '../../lib/user-status-stores/redis.ts'
import { withPrivateRedis } from '../servers/redis.ts'
import { tcpProxy } from '../servers/tcp-proxy.ts'
import { create, tokenOf } from './session-survival.ts'

const alice = { tenant: 'acme', subject: 'alice' }
const until = Date.now() + 3_600_000

t.setTimeout(120_000)

function storesAt (t: Test, url: string) {
  const redis = new Redis(url)
  redis.on('error', () => {})
  t.teardown(() => redis.disconnect())
  return { redis, sessions: redisSessionStore(redis), users: redisUserStatusStore(redis), revocations: redisRevocationStore(redis) }
}

t.test('after a replica of Redis that was behind is promoted, the stores are as they were earlier', t => {
  return withPrivateRedis(t, primary => withPrivateRedis(t, async replica => {
    const [before, after] = [storesAt(t, primary.url), storesAt(t, replica.url)]
    const link = await tcpProxy(t, primary.port)
    await after.redis.replicaof('127.0.0.1', link.port)
    while (!(await after.redis.info('replication')).includes('master_link_status:up')) await sleep(20)
    for (const id of ['kept', 'ended', 'ended-late']) await create(before.sessions, id)
    await create(before.sessions, 'ended-with-subject', 'bob')
    await before.sessions.logOut(tokenOf('ended'))
    await before.users.set(alice, 'logged_in')
    await before.revocations.revoke({ tokenId: 'early', until })
    t.equal(await before.redis.wait(1, 10_000), 1, 'the replica has it all')

    link.cut()
    t.equal((await before.sessions.logOut(tokenOf('ended-late')))?.status, 'active')
    t.equal(await before.sessions.logOutSubject({ subject: 'bob', count: true }), 1)
    await create(before.sessions, 'opened-late', 'bob')
    await before.users.logOut(alice, { at: 1000, requestId: 'r' })
    await before.revocations.revoke({ tokenId: 'late', until })
    await primary.kill()
    await after.redis.replicaof('NO', 'ONE')

    const ids = ['kept', 'ended', 'ended-late', 'ended-with-subject', 'opened-late']
    const statuses = Object.fromEntries(await Promise.all(ids.map(async id => [id, (await after.sessions.find(tokenOf(id)))?.status])))
    t.strictSame(statuses, {
      kept: 'active', ended: 'logged_out', 'ended-late': 'active', 'ended-with-subject': 'active', 'opened-late': undefined
    })
    t.equal((await after.users.get(alice))?.status, 'logged_in')
    t.equal(await after.revocations.check({ tokenId: 'early' }), 'revoked')
    t.equal(await after.revocations.check({ tokenId: 'late' }), 'live', 'a mark that was not replicated is lost')

    t.equal((await after.sessions.logOut(tokenOf('ended-late')))?.status, 'active', 'logging out again holds')
    t.equal(await after.sessions.logOutSubject({ subject: 'bob', count: true }), 1)
    t.equal((await after.sessions.find(tokenOf('ended-with-subject')))?.status, 'logged_out')
    t.equal((await after.users.logOut(alice, { at: 1000, requestId: 'r' }))?.status, 'logged_in')
    t.equal(await after.revocations.revoke({ tokenId: 'late', until }), true)
  }), { config: { 'repl-diskless-sync-delay': '0' } })
})
