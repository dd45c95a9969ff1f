import type { Redis } from 'ioredis'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { sortable } from '../../../lib/internal/redis-sessions/layout.ts'
import { redisSessionStore } from '../../../lib/session-stores/redis.ts'
import { tokenDigest } from '../../../lib/token-digest.ts'
import { connectRedisClients } from '../../servers/redis-clients.ts'
import { withRedis } from '../../servers/redis.ts'
import { freshPrefix, newSession, resending } from '../../session-stores/redis-session.ts'

const minute = 60_000

t.test('the key of a subject', t => withRedis(t, async ({ url }) => {
  const { ioredis, end } = await connectRedisClients(url)
  t.teardown(end)
  await t.test('on one server', t => check(t, ioredis, false))
  await t.test('on a cluster', t => check(t, ioredis, true))
}))

async function check (t: Test, ioredis: Redis, cluster: boolean) {
  const make = () => {
    const prefix = freshPrefix()
    return { prefix, subject: `${prefix}:u:alice`, store: redisSessionStore(ioredis, { prefix, cluster }) }
  }
  /** How many names of each kind are in the key: epoch, by creation, by expiry, expired. */
  const kindsIn = async (key: string) => {
    const names = await ioredis.zrange(key, '0', '-1')
    const of = (kind: RegExp) => names.filter(name => kind.test(name)).length
    return { epochs: of(/^!/), byCreation: of(/^1\dc/), byExpiry: of(/^1\dx/), expired: of(/^1\do/) }
  }

  await t.test('every key is gone at the latest keepUntil, whatever was done', async t => {
    const { prefix, store, subject } = make()
    const keysLeft = () => ioredis.keys(`${prefix}:*`)
    const keepUntil = Date.now() + 2000
    await store.create('longest', newSession({ id: 'longest', expiresAt: keepUntil - 1000, keepUntil }))
    for (const token of ['one', 'two', 'three']) {
      await store.create(token, newSession({ id: token, expiresAt: keepUntil - 1000, keepUntil: keepUntil - 1000 }))
    }
    t.equal(await ioredis.pexpiretime(subject), keepUntil)
    await store.logOut('one')
    await store.logOutById({ id: 'two' })
    await store.logOutSubject({ subject: 'alice', except: 'three' })
    await store.create('four', newSession({ expiresAt: 0, keepUntil }))
    await store.create('alone', newSession({ subject: 'bob', expiresAt: 0, keepUntil }))
    t.equal((await store.logOut('alone'))?.status, 'active', 'the only session of its subject, and expired')
    const endings = await Promise.all((await keysLeft()).map(key => ioredis.pexpiretime(key)))
    t.equal(endings.length, 14)
    t.ok(endings.every(until => until > 0 && until <= keepUntil), `${endings} until ${keepUntil}`)
    await sleep(keepUntil - Date.now() + 50)
    t.strictSame(await keysLeft(), [])
    t.equal(await store.find('longest'), undefined)
  })

  await t.test('the sessions of a subject that has never logged in, or is logged out, leave nothing to write', async t => {
    const { prefix, store, subject } = make()
    t.equal(await store.logOutSubject({ subject: 'alice', count: true }), 0)
    t.strictSame(await ioredis.keys(`${prefix}:*`), [])
    await store.create('token', newSession())
    await store.logOutSubject({ subject: 'alice' })
    const names = await ioredis.zrange(subject, '0', '-1')
    await store.logOutSubject({ subject: 'alice' })
    t.strictSame(await ioredis.zrange(subject, '0', '-1'), names)
  })

  await t.test('later logins remove expired sessions from the list, a hundred at once, and the sessions stay active', async t => {
    const { store, subject } = make()
    const expiresAt = Date.now() + 2000
    await store.create('live', newSession({ createdAt: 0, id: 'live' }))
    await Promise.all(Array.from({ length: 150 }, (_, index) => store.create(`${index}`, newSession({ expiresAt, createdAt: index }))))
    t.match(await kindsIn(subject), { byCreation: 151, byExpiry: 151, expired: 0 })
    await sleep(expiresAt - Date.now() + 10)
    t.strictSame((await store.list({ subject: 'alice', limit: 2 })).map(({ id }) => id), ['live'])
    await store.create('new', newSession({ id: 'new' }))
    t.match(await kindsIn(subject), { byCreation: 52, byExpiry: 52, expired: 100 })
    await store.create('newer', newSession({ id: 'newer' }))
    t.match(await kindsIn(subject), { byCreation: 3, byExpiry: 3, expired: 150 })

    t.equal((await store.find('7'))?.status, 'active', 'it ran out, and was not logged out')
    t.strictSame([(await store.logOut('7'))?.status, (await store.logOut('7'))?.status], ['active', 'logged_out'])
    t.equal(await store.logOutSubject({ subject: 'alice', except: 'live', count: true }), 2, 'what expired is not counted')
    t.strictSame([(await store.find('8'))?.status, (await store.find('live'))?.status], ['logged_out', 'active'])
  })

  await t.test('an expired session that is excepted stays as it is', async t => {
    const { store } = make()
    await store.create('expired', newSession({ id: 'expired', expiresAt: 1 }))
    await store.create('other', newSession({ id: 'other' }))
    t.equal(await store.logOutSubject({ subject: 'alice', except: 'expired', count: true }), 1)
    t.equal((await store.find('expired'))?.status, 'active')
    t.strictSame(await store.list({ subject: 'alice', limit: 9 }), [])
    t.strictSame([(await store.logOut('expired'))?.status, (await store.logOut('expired'))?.status], ['active', 'logged_out'])
  })

  await t.test('later logins remove sessions that are past their keepUntil', async t => {
    const { store, subject } = make()
    const keepUntil = Date.now() + 1500
    await store.create('token', newSession({ expiresAt: 0, keepUntil }))
    t.match(await kindsIn(subject), { byCreation: 0, byExpiry: 0, expired: 1 })
    await store.create('other', newSession())
    await sleep(keepUntil - Date.now() + 10)
    await store.create('third', newSession())
    t.match(await kindsIn(subject), { byCreation: 2, byExpiry: 2, expired: 0 })
  })

  await t.test('a key that lost the name by creation of an expired session still takes logins', async t => {
    const { store, subject } = make()
    const expiresAt = Date.now() + 1500
    await store.create('token', newSession({ expiresAt }))
    const [name = ''] = await ioredis.zrangebylex(subject, '[10c', '(10d')
    await ioredis.zrem(subject, name)
    await sleep(expiresAt - Date.now() + 10)
    await store.create('other', newSession())
    t.match(await kindsIn(subject), { byCreation: 1, byExpiry: 1, expired: 0 })
  })

  await t.test('past epochs are dropped by later logins, a hundred names at once, while others are live', async t => {
    const { store, subject } = make()
    await store.create('kept', newSession({ id: 'kept' }))
    await Promise.all(Array.from({ length: 99 }, (_, index) => store.create(`${index}`, newSession())))
    t.equal(await store.logOutSubject({ subject: 'alice', except: 'kept', count: true }), 99)
    t.match(await kindsIn(subject), { epochs: 1, byCreation: 101 })
    for (const [token, byCreation, byExpiry] of [['new', 2, 102], ['newer', 3, 3], ['newest', 4, 4]] as const) {
      await store.create(token, newSession())
      t.match(await kindsIn(subject), { epochs: 1, byCreation, byExpiry })
    }
    for (const token of ['kept', 'new', 'newest']) t.equal((await store.find(token))?.status, 'active')
    t.equal((await store.find('7'))?.status, 'logged_out')
    t.equal((await store.list({ subject: 'alice', limit: 9 })).length, 4)
  })

  await t.test('when no other session is live, the first login drops past epochs at once', async t => {
    const { store, subject } = make()
    const keepUntil = Date.now() + 10 * minute
    await Promise.all(Array.from({ length: 150 }, (_, index) => store.create(`${index}`, newSession())))
    await store.logOutSubject({ subject: 'alice' })
    t.match(await kindsIn(subject), { byCreation: 150 }, 'a logout drops nothing')
    const calls = await ioredis.zrangebylex(subject, '[~', '+')
    await store.create('new', newSession({ expiresAt: keepUntil, keepUntil }))
    t.strictSame(await kindsIn(subject), { epochs: 1, byCreation: 1, byExpiry: 1, expired: 0 })
    t.equal(await ioredis.pexpiretime(subject), keepUntil)
    t.ok((await ioredis.zrangebylex(subject, '[~', '+')).join().includes(String(calls.at(-1))), 'and no call is forgotten')
    t.strictSame([(await store.find('7'))?.status, (await store.find('new'))?.status], ['logged_out', 'active'])
    t.equal(await store.logOutSubject({ subject: 'alice', count: true }), 1)
  })

  await t.test('calls are forgotten after ten minutes', async t => {
    const { store, subject } = make()
    await store.create('token', newSession())
    await store.logOut('token')
    const stood = await ioredis.zrangebylex(subject, '[~', '+')
    const [old, recent] = [10.1, 9].map(minutes => `~${sortable(Math.floor(Date.now() - minutes * minute))}call`) as [string, string]
    await ioredis.zadd(subject, '0', old, '0', recent)
    await store.create('other', newSession())
    const left = await ioredis.zrangebylex(subject, '[~', '+')
    t.notOk(left.includes(old))
    for (const call of [...stood, recent]) t.ok(left.includes(call))
  })

  await t.test('an evicted session is logged out or unknown, and no login brings it back', async t => {
    const { prefix, store, subject } = make()
    await store.create('token', newSession())
    await ioredis.del(subject)
    t.equal((await store.find('token'))?.status, 'logged_out')
    t.equal((await store.logOut('token'))?.status, 'logged_out')
    t.strictSame(await store.list({ subject: 'alice', limit: 9 }), [])
    t.equal(await store.logOutSubject({ subject: 'alice', count: true }), 0)

    await store.create('past', newSession({ id: 'past' }))
    await store.logOutSubject({ subject: 'alice' })
    await ioredis.del(subject)
    await store.create('new', newSession({ id: 'new' }))
    t.strictSame((await store.list({ subject: 'alice', limit: 9 })).map(({ id }) => id), ['new'])
    for (const token of ['token', 'past']) {
      t.equal((await store.find(token))?.status, 'logged_out', 'although its epoch has the same number again')
    }

    await ioredis.del(`${prefix}:i:new`)
    t.equal(await store.logOutById({ id: 'new' }), undefined)
    t.equal((await store.find('new'))?.status, 'active')
    await store.logOutSubject({ subject: 'alice', except: 'new' })
    t.equal((await store.find('new'))?.status, 'logged_out', 'the excepted session is unknown by now')

    await store.create('lost', newSession({ id: 'lost', createdAt: 2 }))
    for (const id of ['found', 'found too']) await store.create(id, newSession({ id, createdAt: 1 }))
    await ioredis.del(...await ioredis.keys(`${prefix}:s:*`).then(keys => keys.filter(key => key.endsWith(tokenDigest('lost')))))
    t.equal(await store.find('lost'), undefined)
    t.equal(await store.logOut('lost'), undefined)
    t.equal(await store.logOutById({ id: 'lost' }), undefined)
    t.strictSame((await store.list({ subject: 'alice', limit: 1 })).map(({ id }) => id), ['found too'], 'a page is filled all the same')
    t.strictSame((await store.list({ subject: 'alice', limit: 9 })).map(({ id }) => id), ['found too', 'found'])
  })

  await t.test('an id and a token can be used again after their keepUntil, also with the same times', async t => {
    const { store } = make()
    const keepUntil = Date.now() + 1500
    const same = { id: 'same', createdAt: 1, expiresAt: 50, keepUntil }
    await store.create('same', newSession(same))
    await sleep(keepUntil - Date.now() + 10)
    await store.create('same', newSession({ ...same, keepUntil: Date.now() + minute }))
    t.strictSame([(await store.logOut('same'))?.status, (await store.logOut('same'))?.status], ['active', 'logged_out'])
  })

  await t.test('an id that is used again is listed as the session that it is now, and only with its subject', async t => {
    const { store } = make()
    const keepUntil = Date.now() + 1500
    const first = newSession({ id: 'reused', expiresAt: keepUntil, keepUntil })
    await store.create('first', first)
    await sleep(keepUntil - Date.now() + 10)
    const list = async (subject: string) => (await store.list({ subject, limit: 9 })).map(({ id, createdAt }) => [id, createdAt])
    await store.create('second', newSession({ id: 'reused', subject: 'bob', createdAt: 7 }))
    t.strictSame([await list('alice'), await list('bob')], [[], [['reused', 7]]])
    t.equal(await store.logOutSubject({ subject: 'alice', except: 'reused', count: true }), 0)
    t.equal((await store.find('second'))?.status, 'active')
  })

  await t.test('after many logouts of a subject, all but the last sessions are logged out', async t => {
    const { store, subject } = make()
    await store.create('kept', newSession({ id: 'kept' }))
    for (let round = 0; round < 12; round++) {
      await store.create(`${round}`, newSession())
      t.equal(await store.logOutSubject({ subject: 'alice', except: 'kept', count: true }), 1)
      t.strictSame([(await store.find(`${round}`))?.status, (await store.find('kept'))?.status], ['logged_out', 'active'])
    }
    t.strictSame((await ioredis.zrange(subject, '0', '-1')).filter(name => name.startsWith('!')), ['!212'])
    t.strictSame((await store.list({ subject: 'alice', limit: 9 })).map(({ id }) => id), ['kept'])
    await store.create('new', newSession())
    const present = await ioredis.zlexcount(subject, '[212', '(213') + await ioredis.zlexcount(subject, '[~', '+')
    t.equal(await ioredis.zcard(subject), present + 1, 'past epochs are gone')
  })

  await t.test('a command that the client sends again is recognised, and has the same reply', async t => {
    const store = redisSessionStore(resending(ioredis), { prefix: freshPrefix(), cluster })
    await store.create('token', newSession())
    t.strictSame([(await store.logOut('token'))?.status, (await store.logOut('token'))?.status], ['active', 'logged_out'])
    for (const id of ['one', 'two', 'other']) await store.create(id, newSession({ id }))
    t.equal(await store.logOutSubject({ subject: 'alice', except: 'other', count: true }), 2)
    t.equal(await store.logOutSubject({ subject: 'alice', except: 'other', count: true }), 0)
    const before = [await store.logOutById({ id: 'other' }), await store.logOutById({ id: 'other' })]
    t.strictSame(before.map(session => session?.status), ['active', 'logged_out'])
    await t.rejects(store.create('token', newSession()), /exists already/)
    await store.create('last', newSession())
    t.equal(await store.logOutSubject({ subject: 'alice', count: true }), 1)
  })

  await t.test('a key of another type is a rejection, not an answer', async t => {
    const { prefix, store, subject } = make()
    await store.create('token', newSession({ id: 'id' }))
    await ioredis.del(subject)
    await ioredis.hset(subject, 'a', 'b')
    await t.rejects(store.find('token'), /WRONGTYPE/)
    await t.rejects(store.logOut('token'), /WRONGTYPE/)
    await t.rejects(store.logOutById({ id: 'id' }), /WRONGTYPE/)
    await t.rejects(store.logOutSubject({ subject: 'alice' }), /WRONGTYPE/)
    await t.rejects(store.list({ subject: 'alice', limit: 1 }), /WRONGTYPE/)
    await t.rejects(store.create('other', newSession()), /WRONGTYPE/)
    await ioredis.set(`${prefix}:i:other`, 'x')
    await t.rejects(store.logOutById({ id: 'other' }), /WRONGTYPE/)
    await t.rejects(store.logOutSubject({ subject: 'bob', except: 'other' }), /WRONGTYPE/)
  })
}
