import { Redis } from 'ioredis'
import { Redis as Valkey } from 'iovalkey'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { redisRateLimitStore } from '../../lib/rate-limit-stores/redis.ts'
import { redisRevocationStore } from '../../lib/revocation-stores/redis.ts'
import { redisSessionStore } from '../../lib/session-stores/redis.ts'
import { redisUserStatusStore } from '../../lib/user-status-stores/redis.ts'
import type { PrivateServer } from '../servers/private-process.ts'
import { withPrivateRedis } from '../servers/redis.ts'
import { create, host, tokenOf } from './session-survival.ts'

/** A name that leads to one server, then to another: connections that are open stay where they are. */
async function nameFor (t: Test, server: PrivateServer) {
  const name = { leadsTo: server.port, url: '' }
  const listener = createServer(near => {
    const far = connect(name.leadsTo, '127.0.0.1')
    near.pipe(far).pipe(near)
    for (const [one, other] of [[near, far], [far, near]] as const) {
      one.on('error', () => other.destroy())
      one.on('close', () => other.destroy())
    }
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  name.url = `redis://127.0.0.1:${(listener.address() as AddressInfo).port}`
  t.teardown(() => { listener.close() })
  return name
}

const isReadOnly = (error: Error) => error.message.startsWith('READONLY')

type ReconnectOnError = (error: Error) => boolean | 1 | 2
const libraries = {
  ioredis: (url: string, reconnectOnError: ReconnectOnError) => new Redis(url, { reconnectOnError }),
  iovalkey: (url: string, reconnectOnError: ReconnectOnError) => new Valkey(url, { reconnectOnError })
}

for (const [library, connectTo] of Object.entries(libraries)) {
  t.test(`a primary becomes a replica: ${library} follows where reconnectOnError asks for it`, t => withPrivateRedis(t, async first => {
    await withPrivateRedis(t, async second => {
      const name = await nameFor(t, first)
      const [admin, promoted] = [new Redis(first.url), new Redis(second.url)]
      const resending = connectTo(name.url, error => isReadOnly(error) ? 2 : false)
      const rejecting = connectTo(name.url, isReadOnly)
      t.teardown(() => { for (const client of [admin, promoted, resending, rejecting]) client.disconnect() })
      await promoted.replicaof('127.0.0.1', first.port)

      const ids = Array.from({ length: 60 }, (_, index) => `session-${index}`)
      const alice = { tenant: 'acme', subject: 'alice' }
      for (const id of ids) await create(redisSessionStore(resending), id)
      await redisUserStatusStore(resending).set(alice, 'logged_in')
      await rejecting.ping()
      t.equal(await admin.wait(1, 10_000), 1, 'the replica has it all')
      await promoted.replicaof('NO', 'ONE')
      await admin.replicaof('127.0.0.1', second.port)

      /** Connected to the old primary, while the name leads to the new one. */
      const connectedBefore = async () => {
        name.leadsTo = first.port
        resending.disconnect(true)
        await once(resending, 'ready')
        name.leadsTo = second.port
        return resending
      }

      await t.test('a batch of logouts', async t => {
        const node = await host(redisSessionStore(await connectedBefore()))
        const answers = await Promise.all(ids.slice(0, 50).map(id => node.logOut(id)))
        t.ok(answers.every(({ status }) => status === 204), 'is sent again, to the new primary')
        t.strictSame(node.ended.toSorted(), ids.slice(0, 50).toSorted(), 'and each was reported once')
        t.equal((await redisSessionStore(promoted).find(tokenOf('session-7')))?.status, 'logged_out')
      })

      await t.test('a logout that is not to be sent again', async t => {
        const store = redisSessionStore(rejecting)
        await t.rejects(store.logOut(tokenOf('session-55')), { message: /^READONLY/ })
        await rejecting.ping()
        t.equal((await store.logOut(tokenOf('session-55')))?.status, 'active', 'succeeds with the next call')
      })

      await t.test('the status of a user', async t => {
        t.equal((await redisUserStatusStore(await connectedBefore()).logOut(alice, { at: 1, requestId: 'r' }))?.status, 'logged_in')
        t.equal((await redisUserStatusStore(promoted).get(alice))?.status, 'logged_out')
      })

      await t.test('a mark', async t => {
        await redisRevocationStore(await connectedBefore()).revoke({ tokenId: 'token', until: Date.now() + 60_000 })
        t.equal(await redisRevocationStore(promoted).check({ tokenId: 'token' }), 'revoked')
      })

      await t.test('a count', async t => {
        const store = new (redisRateLimitStore(await connectedBefore()))({})
        t.equal(await new Promise(resolve => { store.incr('key', (error, count) => resolve(error ?? count?.current), 1000) }), 1)
      })
    })
  }))
}
