import Fastify, { type FastifyInstance, type InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import {
  backChannelLogout, clientLogouts, kratosLogout, logoutNotifier, notifyFirst, sessionLogout, signingHubLogout, tenantStatusLogout,
  type EndedSessions
} from '../lib/index.ts'
import { memoryProviderSessionIndex } from '../lib/provider-session-indexes/memory.ts'
import { sessionStoreSource } from '../lib/session-sources/session-store.ts'
import { memorySessionStore } from '../lib/session-stores/memory.ts'
import { memoryUserStatusStore } from '../lib/user-status-stores/memory.ts'
import { handQueue, issuer, keys } from './delivery-host.ts'
import { signJwt } from './sign-jwt.ts'

// The lines of docs/guides/tell-other-applications.md: what each flow tells the queue, and what an outage of the queue does.

const ids = ['shop', 'mail']
const lifetime = 3_600_000
const verifyToken = () => ({ sub: 'alice', tenant: 'acme', iat: 1 })

/** A notifier whose queue can be down. */
function place () {
  const { queue, enqueued } = handQueue()
  const state = { isDown: false }
  const notifier = logoutNotifier({
    findClient: () => undefined,
    queue: {
      ...queue,
      enqueue: deliveries => {
        if (state.isDown) throw new Error('planted')
        return queue.enqueue(deliveries)
      }
    }
  })
  const notify = (event: EndedSessions) => notifier.notify(clientLogouts(event, ids))
  return { notify, state, told: () => enqueued.map(({ clientId, subject, tenant, sid }) => ({ clientId, subject, tenant, sid })) }
}

/** A session store with a session of alice. */
async function aliceIn () {
  const sessions = memorySessionStore()
  const now = Date.now()
  await sessions.create('the-token', { id: 's1', subject: 'alice', createdAt: now, expiresAt: now + lifetime, keepUntil: now + lifetime })
  return sessions
}

function logoutToken (): string {
  const now = Math.floor(Date.now() / 1000)
  return signJwt(keys.privateKey, 'RS256', {
    iss: issuer,
    aud: 'us',
    iat: now,
    exp: now + 120,
    jti: String(Math.random()),
    sid: 'there',
    events: { 'http://schemas.openid.net/event/backchannel-logout': {} }
  }, { typ: 'logout+jwt' })
}

type Notify = ReturnType<typeof place>['notify']

interface Flow {
  /** Registers the flow with the line of the guide: with `first`, the one for hosts that want a 5xx. */
  readonly register: (app: FastifyInstance, notify: Notify, first: boolean) => Promise<unknown>
  readonly request: () => InjectOptions
  readonly status: number
  readonly told: object
}

const ofSession = { subject: 'alice', tenant: undefined, sid: 's1' }

const flows: Readonly<Record<string, Flow>> = {
  sessionLogout: {
    async register (app, notify, first) {
      const source = sessionStoreSource(await aliceIn(), { cookie: { name: 'sid', secure: false } })
      return app.register(sessionLogout(first ? { sessions: notifyFirst(source, notify) } : { sessions: source, onLogout: notify }))
    },
    request: () => ({ method: 'POST', url: '/logout', headers: { 'sec-fetch-site': 'same-origin', cookie: 'sid=the-token' } }),
    status: 204,
    told: ofSession
  },
  kratosLogout: {
    async register (app, notify, first) {
      const sessions = await aliceIn()
      return app.register(kratosLogout, first ? { sessions: notifyFirst(sessions, notify) } : { sessions, onLogout: notify })
    },
    request: () => ({ method: 'DELETE', url: '/self-service/logout/api', payload: { session_token: 'the-token' } }),
    status: 204,
    told: ofSession
  },
  signingHubLogout: {
    register: async (app, notify, first) => app.register(signingHubLogout, {
      verifyToken, ...first ? { recordActivity: user => notify(user) } : { onLogout: user => notify(user) }
    }),
    request: () => ({ method: 'POST', url: '/v3/logout', headers: { authorization: 'Bearer x' } }),
    status: 200,
    told: { subject: 'alice', tenant: 'acme', sid: undefined }
  },
  tenantStatusLogout: {
    async register (app, notify, first) {
      const users = memoryUserStatusStore()
      await users.compareAndSet({ tenant: 'acme', subject: 'alice' }, undefined, { status: 'logged_in', at: 1, requestId: 'r' })
      return app.register(tenantStatusLogout, {
        users,
        verifyToken,
        authenticateTenant: () => 'acme',
        ...first ? { user: { beforeLogOut: user => notify(user) } } : { onLogout: user => notify(user) }
      })
    },
    request: () => ({ method: 'GET', url: '/auth/logout', headers: { 'x-tenant-token': 'x', 'x-token': 'x' } }),
    status: 200,
    told: { subject: 'alice', tenant: 'acme', sid: undefined }
  },
  backChannelLogout: {
    async register (app, notify, first) {
      const index = memoryProviderSessionIndex()
      const now = Date.now()
      const login = { issuer, subject: 'there-alice', sid: 'there', issuedAt: now - 60_000 }
      index.bind(login, { sessionId: 's1', subject: 'alice' }, now + lifetime)
      return app.register(backChannelLogout, {
        issuers: [{ issuer, clientId: 'us', key: keys.publicKey }],
        index,
        sessions: await aliceIn(),
        sessionLifetime: lifetime,
        ...first
          ? {
              alsoEnd: async ({ sessions }) => {
                for (const { sessionId, subject } of sessions) await notify({ scope: 'session', session: { id: sessionId, subject } })
              }
            }
          : { onLogout: event => notify(event) }
      })
    },
    request: () => ({
      method: 'POST',
      url: '/backchannel-logout',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      payload: `logout_token=${logoutToken()}`
    }),
    status: 200,
    told: ofSession
  }
}

async function start (t: Test, flow: Flow, first: boolean) {
  const app = Fastify()
  t.teardown(() => app.close())
  const { notify, state, told } = place()
  await flow.register(app, notify, first)
  return { state, told, ask: async () => (await app.inject(flow.request())).statusCode }
}

for (const [name, flow] of Object.entries(flows)) {
  const everyone = ids.map(clientId => ({ clientId, ...flow.told }))

  t.test(`${name}: one line notifies the other applications; an outage of the queue is logged, and the logout stands`, async t => {
    const { told, ask } = await start(t, flow, false)
    t.equal(await ask(), flow.status)
    t.strictSame(told(), everyone)

    const down = await start(t, flow, false)
    down.state.isDown = true
    t.equal(await down.ask(), flow.status)
    t.strictSame(down.told(), [])
  })

  t.test(`${name}: where the host asks for it, an outage of the queue is a 5xx, and the retry notifies them`, async t => {
    const { state, told, ask } = await start(t, flow, true)
    state.isDown = true
    t.ok(await ask() >= 500)
    t.ok(await ask() >= 500, 'again')
    t.strictSame(told(), [])
    state.isDown = false
    t.equal(await ask(), flow.status)
    t.strictSame(told(), everyone)
  })
}
