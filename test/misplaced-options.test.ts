import Fastify, { type FastifyInstance, type FastifyPluginAsync } from 'fastify'
import t from 'tap'
import * as index from '../lib/index.ts'
import { logoutActions, securityEventPoller } from '../lib/index.ts'
import { memoryRevocationStore } from '../lib/revocation-stores/memory.ts'
import { memorySessionStore } from '../lib/session-stores/memory.ts'
import { fastJwtVerifier } from '../lib/token-verifiers/fast-jwt.ts'
import { introspectionVerifier } from '../lib/token-verifiers/introspection.ts'
import { jwksVerifier } from '../lib/token-verifiers/jwks.ts'
import { pages } from './docs/pages.ts'
import { registerFlows } from './every-flow.ts'

type Make = (options: object) => unknown

/** Functions with options in groups, and good options. */
const functions: Record<string, readonly [make: Make, good: object]> = {
  fastJwtVerifier: [
    options => fastJwtVerifier(options as never),
    { key: 'k'.repeat(32), algorithms: ['HS256'], issuer: 'https://login.example', audience: 'app' }
  ],
  introspectionVerifier: [
    options => introspectionVerifier(options as never),
    { endpoint: 'https://login.example/introspect', client: { id: 'api', secret: 's'.repeat(32), method: 'basic' } }
  ],
  jwksVerifier: [
    options => jwksVerifier(options as never),
    { issuers: [{ issuer: 'https://login.example', audience: 'app', algorithms: ['RS256'] }] }
  ],
  logoutActions: [options => logoutActions(options as never), { sessions: { logOut: () => undefined } }],
  securityEventPoller: [options => securityEventPoller(options as never), {
    stream: {
      issuer: 'https://login.example',
      audience: 'app',
      jwksUri: 'https://login.example/keys',
      endpoint: 'https://login.example/poll',
      authorization: () => ''
    },
    revocations: memoryRevocationStore(),
    resolveSubject: () => [],
    end: { sessions: memorySessionStore() }
  }]
}

/** Every flow with good options, by its name. */
async function flows (): Promise<Record<string, readonly [make: Make, good: object]>> {
  const found: Record<string, readonly [make: Make, good: object]> = {}
  const names = new Map(Object.entries(index).map(([name, value]) => [value as unknown, name]))
  const app = {
    register: async (flow: FastifyPluginAsync, good: object) => {
      found[String(names.get(flow))] = [options => Fastify().register(flow, options), good]
    }
  }
  await registerFlows(app as unknown as FastifyInstance)
  return found
}

/** The members of groups, with the name of the function whose options these are. A name that is an option too is left out. */
function membersByFunction () {
  const tables = pages().flatMap(({ text }) => [...text.matchAll(/^<!-- options: (\w+)Options\b.*\n((?:\|.*\n)*)/gm)])
  return tables.flatMap(([, type = '', rows = '']) => {
    const names = [...rows.matchAll(/^\| `([\w.]+)` /gm)].map(([, name = '']) => name.split('.'))
    const top = new Set(names.map(([first]) => first))
    const members = names.flatMap(([group, member]) => member === undefined || top.has(member) ? [] : [{ group, member }])
    return members.length === 0 ? [] : [{ name: type.charAt(0).toLowerCase() + type.slice(1), members }]
  })
}

t.test('a member of a group that stands beside the group is a TypeError, for every option in a table of the docs', async t => {
  const makes = { ...functions, ...await flows() }
  const documented = membersByFunction()
  t.ok(documented.length >= 16)
  for (const { name, members } of documented) {
    const [make, good] = makes[name] ?? []
    if (make === undefined || good === undefined) {
      t.fail(`${name} has groups of options, and no good options in this test`)
      continue
    }
    await t.resolves(Promise.resolve(make(good)), `${name} with good options`)
    for (const { member } of members) {
      const groups = members.filter(other => other.member === member).map(({ group }) => group).join('|')
      const message = new RegExp(`^${name}: option "${member}" must be a member of the option "(${groups})"$`)
      await t.rejects(async () => make({ ...good, [member]: undefined }), { name: 'TypeError', message })
    }
  }
})
