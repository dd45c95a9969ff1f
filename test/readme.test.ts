import Fastify, { type RouteOptions } from 'fastify'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import ts from 'typescript'
import {
  kratosAdmin, kratosBrowserLogout, kratosLogout, kratosSessions, sessionLogout, signingHubLogout, tenantStatusLogout
} from '../lib/index.ts'
import { sessionStoreSource } from '../lib/session-sources/session-store.ts'
import { memorySessionStore } from '../lib/session-stores/memory.ts'
import { memoryUserStatusStore } from '../lib/user-status-stores/memory.ts'

const readme = await readFile('README.md', 'utf8')

t.test('both commands are at the top, each on a line of its own', async (t) => {
  const top = readme.slice(0, readme.indexOf('\n## ', readme.indexOf('\n## ') + 1))
  for (const command of ['npm install && npm start', 'npm install && npm test']) t.match(top, new RegExp(`^${command}$`, 'm'))
})

t.test('every code block that is not run by another test type-checks against the package', async (t) => {
  const section = readme.indexOf('## Make logout stick')
  const unrun = readme.slice(0, section) + readme.slice(readme.indexOf('\n## ', section))
  const blocks = [...unrun.matchAll(/^```(js|ts)\n(.*?)^```$/gms)].map(([, language, code = '']) => ({ language, code }))
  t.ok(blocks.length >= 3)
  const files = Object.fromEntries(blocks.map(({ language, code }, index) => [`block-${index + 1}.${language}`, `${code}\nexport {}\n`]))
  // A host in TypeScript declares what it puts into its sessions.
  const declared = "import 'fastify'\ndeclare module 'fastify' { interface Session { user?: string, loggedInAt?: number } }\n"
  const directory = t.testdir({ ...files, 'session.d.ts': declared })
  const program = ts.createProgram([...Object.keys(files), 'session.d.ts'].map(name => join(directory, name)), {
    target: ts.ScriptTarget.ES2023,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    types: ['node'],
    allowJs: true,
    checkJs: true,
    strict: true,
    noImplicitAny: false,
    skipLibCheck: true,
    noEmit: true
  })
  for (const { file, start = 0, messageText } of ts.getPreEmitDiagnostics(program)) {
    const line = file?.text.slice(start).split('\n', 1)[0]
    t.fail(`${file?.fileName.split('/').at(-1)}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}: ${line}`)
  }
})

t.test('the table of routes lists exactly the routes and statuses that the plugins declare', async (t) => {
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
  await app.ready()

  const documented = new Map([...readme.matchAll(/^\| `([A-Z]+(?:, [A-Z]+)*) (\/\S*)` \|[^|]*\|([^|]*)\|/gm)]
    .flatMap(([, verbs = '', url = '', listed = '']) => {
      const statuses = [...listed.matchAll(/\b\d{3}\b/g)].map(String).sort().join(' ')
      return verbs.split(', ').map(verb => [`${verb} ${url}`, statuses] as const)
    }))
  t.strictSame(Object.fromEntries([...documented].sort()), Object.fromEntries([...declared].sort()))
})
