import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { backChannelLogout } from '../../lib/flows/openid-back-channel.ts'
import { sessionLogout } from '../../lib/flows/session.ts'
import { markedById } from '../../lib/internal/session-logout/marks.ts'
import type { LogoutEvent } from '../../lib/logout-event.ts'
import { memoryProviderSessionIndex } from '../../lib/provider-session-indexes/memory.ts'
import { memoryRevocationStore } from '../../lib/revocation-stores/memory.ts'
import type { HostSession, SessionsById, SessionSource } from '../../lib/session-source.ts'
import { logoutToken } from '../openid/bad-logout-tokens.ts'
import { clientId, path, testIssuer } from '../openid-host.ts'
import { kinds } from '../source-hosts.ts'

const hour = 3_600_000

for (const kind of kinds.filter(({ name }) => name !== 'plain functions' && name !== 'a session store')) {
  t.test(`a logout at the provider ends the sessions of a host with ${kind.name}, and reports each once`, async t => {
    const issuer = await testIssuer(t)
    const index = memoryProviderSessionIndex()
    const told: Array<LogoutEvent<HostSession>> = []
    const host = await kind.make(t, {
      register: async (app: FastifyInstance, options) => {
        await app.register(sessionLogout, options)
        await app.register(backChannelLogout, {
          issuers: [{ issuer: issuer.url, clientId, jwksUri: `${issuer.url}/keys` }],
          index,
          sessions: options.sessions as unknown as SessionsById,
          sessionLifetime: hour,
          onLogout: event => { told.push(event) }
        })
      }
    })
    const sessions: SessionSource = host.sessions
    const devices = [await host.logIn('alice'), await host.logIn('alice')]
    const ids: string[] = []
    for (const [place, device] of devices.entries()) {
      const cookie = Array.from(device.cookies, ([name, value]) => `${name}=${value}`).join('; ')
      const session = await host.handle(
        { ...device.headers, cookie, 'x-forwarded-proto': 'https' }, async request => sessions.find?.(request)
      )
      t.ok(session, 'the host knows the public id of the session')
      const bound = { sessionId: String(session?.id), subject: String(session?.subject) }
      ids.push(bound.sessionId)
      index.bind({ issuer: issuer.url, subject: 'alice', sid: `device ${place}`, issuedAt: Date.now() - 1000 }, bound, Date.now() + hour)
    }
    for (let round = 0; round < 2; round++) {
      const response = await host.app.inject({
        method: 'POST',
        url: path,
        payload: `logout_token=${logoutToken(issuer.keyring, { sid: 'device 0' })}`,
        headers: { 'content-type': 'application/x-www-form-urlencoded' }
      })
      t.equal(response.statusCode, 200, response.body)
    }
    t.strictSame(await Promise.all(devices.map(device => host.isLive(device))), [false, true])
    t.match(told, [{ scope: 'session', session: { id: ids[0] } }])
    t.equal(told.length, 1)
  })
}

t.test('the mark of a session lasts as long as its credentials, and both tolerances', async t => {
  const marks: unknown[] = []
  const memory = memoryRevocationStore()
  const revocations: Parameters<typeof markedById>[0] = { revoke: (...added) => { marks.push(...added); return memory.revoke(...added) } }
  const { logOutById } = markedById(revocations, { lifetime: 1000.5, clockTolerance: 100 })
  const { now: clock } = Date
  t.teardown(() => Object.assign(Date, { now: clock }))
  const now = clock()
  Date.now = () => now
  t.strictSame(await logOutById({ id: '1', subject: 'alice' }), { id: '1', subject: 'alice' })
  t.equal(await logOutById({ id: '1', subject: 'alice' }), undefined)
  await markedById(revocations, { lifetime: 1000 }).logOutById({ id: '2', subject: 'alice' })
  const mark = { sessionId: '1', until: now + 1201 }
  t.strictSame(marks, [mark, mark, { sessionId: '2', until: now + 1000 }], 'and without tolerances')
})
