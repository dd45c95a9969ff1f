import Fastify, { type RouteOptions } from 'fastify'
import { readFile } from 'node:fs/promises'
import t from 'tap'
import { pages } from './docs/pages.ts'
import {
  globalTokenRevocation, kratosAdmin, kratosBrowserLogout, kratosLogout, kratosSessions, securityEvents, sessionLogout, signingHubLogout,
  tenantStatusLogout
} from '../lib/index.ts'
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
  const app = Fastify()
  t.teardown(() => app.close())
  const declared = new Map<string, string>()
  app.addHook('onRoute', ({ method, url, schema }: RouteOptions) => {
    const statuses = Object.keys((schema as { response?: object } | undefined)?.response ?? {}).filter(status => /^\d+$/.test(status))
    if (statuses.length > 0) for (const verb of [method].flat()) declared.set(`${verb} ${url}`, statuses.sort().join(' '))
  })
  const sessions = memorySessionStore()
  const verifyToken = () => ({})
  await app.register(sessionLogout, { sessions: sessionStoreSource(sessions, { cookie: { name: 'sid' } }) })
  await app.register(signingHubLogout, { verifyToken })
  await app.register(kratosLogout, { sessions })
  await app.register(kratosBrowserLogout, { sessions, publicUrl: 'http://127.0.0.1', defaultReturnUrl: 'http://127.0.0.1/' })
  await app.register(kratosSessions, { sessions })
  await app.register(kratosAdmin, { sessions, authorize: () => true })
  await app.register(tenantStatusLogout, { users: memoryUserStatusStore(), verifyToken, authenticateTenant: () => 'acme' })
  await app.register(globalTokenRevocation,
    { authenticate: () => undefined, resolveSubject: () => [], revokeRefreshTokens: false, sessions })
  await app.register(securityEvents, {
    streams: [{ issuer: 'https://transmitter.example', audience: 'us' }],
    revocations: memoryRevocationStore(),
    resolveSubject: () => [],
    sessions
  })
  await app.ready()

  const flows = pages().filter(({ path }) => path.startsWith('docs/flows/')).map(({ text }) => text).join('\n')
  const documented = new Map([...flows.matchAll(/^\| `([A-Z]+(?:, [A-Z]+)*) (\/\S*)` \|[^|]*\|([^|]*)\|/gm)]
    .flatMap(([, verbs = '', url = '', listed = '']) => {
      const statuses = [...listed.matchAll(/\b\d{3}\b/g)].map(String).sort().join(' ')
      return verbs.split(', ').map(verb => [`${verb} ${url}`, statuses] as const)
    }))
  t.strictSame(Object.fromEntries([...documented].sort()), Object.fromEntries([...declared].sort()))
})
