import Fastify, { type FastifyPluginAsync, type RouteOptions } from 'fastify'
import { readFile } from 'node:fs/promises'
import t from 'tap'
import { pages } from './docs/pages.ts'
import {
  backChannelLogout, frontChannelLogout, globalTokenRevocation, kratosAdmin, kratosBrowserLogout, kratosLogout, kratosSessions,
  rpInitiatedLogout, securityEvents, sessionLogout, signingHubLogout, tenantStatusLogout, tokenRevocation
} from '../lib/index.ts'
import { memoryProviderSessionIndex } from '../lib/provider-session-indexes/memory.ts'
import { memoryRevocationStore } from '../lib/revocation-stores/memory.ts'
import { sessionStoreSource } from '../lib/session-sources/session-store.ts'
import { memorySessionStore } from '../lib/session-stores/memory.ts'
import { memoryUserStatusStore } from '../lib/user-status-stores/memory.ts'

const readme = await readFile('README.md', 'utf8')

t.test('both commands are at the top, each on a line of its own', async (t) => {
  const top = readme.slice(0, readme.indexOf('\n## ', readme.indexOf('\n## ') + 1))
  for (const command of ['npm install && npm start', 'npm install && npm test']) t.match(top, new RegExp(`^${command}$`, 'm'))
})

t.test('the tables of routes of the pages of the flows list exactly the routes and statuses that the plugins declare', async (t) => {
  const sessions = memorySessionStore()
  const verifyToken = () => ({})
  const openid = { issuers: [{ issuer: 'https://login.example', clientId: 'app' }], index: memoryProviderSessionIndex(), sessions }
  const source = sessionStoreSource(sessions, { cookie: { name: 'sid' } })
  const urls = { publicUrl: 'http://127.0.0.1', returnUrls: { default: 'http://127.0.0.1/' } }
  const plugins: Readonly<Record<string, readonly [plugin: unknown, options: object]>> = {
    sessionLogout: [sessionLogout, { sessions: source }],
    signingHubLogout: [signingHubLogout, { verifyToken }],
    kratosLogout: [kratosLogout, { sessions }],
    kratosBrowserLogout: [kratosBrowserLogout, { sessions, ...urls }],
    kratosSessions: [kratosSessions, { sessions }],
    kratosAdmin: [kratosAdmin, { sessions, authorize: () => true }],
    tenantStatusLogout: [tenantStatusLogout, { users: memoryUserStatusStore(), verifyToken, authenticateTenant: () => 'acme' }],
    globalTokenRevocation: [globalTokenRevocation, {
      authenticate: () => undefined, resolveSubject: () => [], end: { revokeRefreshTokens: false, sessions }
    }],
    securityEvents: [securityEvents, {
      streams: [{ issuer: 'https://transmitter.example', audience: 'us' }],
      revocations: memoryRevocationStore(),
      resolveSubject: () => [],
      end: { sessions }
    }],
    tokenRevocation: [tokenRevocation, { authenticateClient: () => undefined, revokeToken: () => undefined }],
    rpInitiatedLogout: [rpInitiatedLogout, { ...openid, ...urls, sessions: source, provider: () => undefined, route: { allowGet: true } }],
    backChannelLogout: [backChannelLogout, { ...openid, sessionLifetime: 1000 }],
    frontChannelLogout: [frontChannelLogout, { ...openid, sessionLifetime: 1000 }]
  }
  const declared = new Map<string, string>()
  for (const [name, [plugin, options]] of Object.entries(plugins)) {
    const app = Fastify()
    t.teardown(() => app.close())
    app.addHook('onRoute', ({ method, url, schema }: RouteOptions) => {
      const statuses = Object.keys((schema as { response?: object } | undefined)?.response ?? {}).filter(status => /^\d+$/.test(status))
      if (statuses.length > 0) for (const verb of [method].flat()) declared.set(`${name}: ${verb} ${url}`, statuses.sort().join(' '))
    })
    await app.register(plugin as FastifyPluginAsync<object>, options)
    await app.ready()
  }

  const flows = pages().filter(({ path }) => path.startsWith('docs/flows/')).map(({ text }) => text).join('\n')
  const documented = new Map([...flows.matchAll(/^\| `([A-Z]+(?:, [A-Z]+)*) (\/\S*)` \|[^|]*\|([^|]*)\| `(\w+)` \|$/gm)]
    .flatMap(([, verbs = '', url = '', listed = '', plugin = '']) => {
      const statuses = [...listed.matchAll(/\b\d{3}\b/g)].map(String).sort().join(' ')
      return verbs.split(', ').map(verb => [`${plugin}: ${verb} ${url}`, statuses] as const)
    }))
  t.strictSame(Object.fromEntries([...documented].sort()), Object.fromEntries([...declared].sort()))
})
