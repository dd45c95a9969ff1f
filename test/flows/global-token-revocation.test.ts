import Fastify, { type FastifyServerOptions } from 'fastify'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import {
  globalTokenRevocation, type CommandEffectsOptions, type GlobalTokenRevocationOptions
} from '../../lib/flows/global-token-revocation.ts'
import type { SenderTokenOptions } from '../../lib/internal/security-events/command-sender.ts'
import type { LogoutEvent } from '../../lib/logout-event.ts'
import { memoryRevocationStore, type MemoryRevocationStore } from '../../lib/revocation-stores/memory.ts'
import { memorySessionStore, type MemorySessionStore } from '../../lib/session-stores/memory.ts'
import { acme, endpointUrl, revocationToken, seconds, umbrella, type TokenChanges } from '../event-senders.ts'
import { assertMisuse, type WrongOptions } from '../misuse.ts'
import { jwksPath, startIssuer } from '../servers/issuer.ts'
import { signJwt } from '../sign-jwt.ts'
import { wire, type Answer } from '../wire.ts'

const done: Answer = { status: 204, headers: { 'cache-control': 'no-store' }, body: '' }

function refused (status: number, error: string, description?: string, headers: object = {}): Answer {
  const body = JSON.stringify({ error, ...(description !== undefined && { error_description: description }) })
  return {
    status,
    body,
    headers: {
      ...headers, 'cache-control': 'no-store', 'content-type': 'application/json; charset=utf-8', 'content-length': String(body.length)
    }
  }
}

const invalid = (description: string) => refused(400, 'invalid_request', description)
const unauthenticated = refused(401, 'invalid_token', 'missing', { 'www-authenticate': 'Bearer' })
const badToken = (description: string) => refused(401, 'invalid_token', description, { 'www-authenticate': 'Bearer error="invalid_token"' })
const outage = refused(503, 'temporarily_unavailable', undefined, { 'retry-after': '5' })

const sender = { issuer: acme.issuer, clientId: acme.clientId, key: acme.publicKey, tenant: 'acme' }
const otherSender = { issuer: umbrella.issuer, clientId: umbrella.clientId, key: umbrella.publicKey, tenant: 'umbrella' }
const byEmail = (email: string) => ({ sub_id: { format: 'email', email } })
const fail = async (): Promise<never> => { throw new Error('a secret of the database') }
const hang = async (): Promise<never> => new Promise<never>(() => {})

interface Host {
  readonly sessions: MemorySessionStore
  readonly revocations: MemoryRevocationStore
  /** What was asked of the host, in order. */
  readonly steps: string[]
  readonly told: LogoutEvent[]
  readonly logs: string[]
  readonly options: GlobalTokenRevocationOptions
  addSession (subject: string, name: string): Promise<void>
  live (subject: string): Promise<number>
}

interface Known { readonly subject: string, readonly tenant: string }

/** A host with users in two tenants, three sessions each, that writes down what is asked of it. */
async function host (): Promise<Host> {
  const sessions = memorySessionStore()
  const revocations = memoryRevocationStore()
  const steps: string[] = []
  const told: LogoutEvent[] = []
  const logs: string[] = []
  const users = new Map<string, Known | 'forbidden' | 'unable'>()
  for (const tenant of ['acme', 'umbrella']) {
    for (const name of ['alice', 'bob']) {
      const subject = `${name}@${tenant}`
      users.set(`${tenant} ${subject}`, { subject, tenant })
      for (const number of [1, 2, 3]) await addSession(subject, String(number))
    }
  }
  users.set('acme admin', 'forbidden')
  users.set('acme robot', 'unable')

  async function addSession (subject: string, name: string) {
    const now = Date.now()
    await sessions.create(`${subject} ${name}`,
      { id: `${subject} ${name}`, subject, createdAt: now, expiresAt: now + 60_000, keepUntil: now + 60_000 })
  }

  const options = {
    authenticate: { senders: [sender, otherSender], endpointUrl, revocations },
    resolveSubject: async (subject, { tenant }) => {
      steps.push(`resolve ${JSON.stringify(subject)} for ${tenant}`)
      const name = subject.format === 'email' ? subject.email : subject.format === 'iss_sub' ? subject.sub : ''
      const found = users.get(`${tenant} ${name}`)
      return typeof found === 'string' ? found : found === undefined ? [] : [found]
    },
    end: {
      revoke: {
        revocations: {
          revoke: (...marks) => {
            steps.push(`mark ${marks.map(mark => 'subject' in mark ? `${mark.subject} of ${mark.tenant}` : '?').join()}`)
            return revocations.revoke(...marks)
          }
        },
        lifetime: 3_600_000
      },
      revokeRefreshTokens: async users => { steps.push(`refresh tokens of ${users.map(({ subject }) => subject).join()}`) },
      alsoEnd: async users => { steps.push(`also end ${users.map(({ subject }) => subject).join()}`) },
      sessions: {
        logOutSubject: async query => {
          steps.push(`sessions of ${query.subject}`)
          return sessions.logOutSubject(query)
        }
      }
    },
    onLogout: event => { told.push(event) }
  } satisfies GlobalTokenRevocationOptions
  const live = async (subject: string) => (await sessions.list({ subject, limit: 10 })).length
  return { sessions, revocations, steps, told, logs, options, addSession, live }
}

/** Changes of the options of a host, also of single members of `authenticate` and `end`. */
type Changes = Omit<Partial<GlobalTokenRevocationOptions>, 'authenticate' | 'end'> & {
  readonly authenticate?: Partial<SenderTokenOptions>
  readonly end?: Partial<CommandEffectsOptions>
}

function changed (options: Awaited<ReturnType<typeof host>>['options'], changes: Changes): GlobalTokenRevocationOptions {
  return {
    ...options,
    ...changes,
    authenticate: { ...options.authenticate, ...changes.authenticate } as SenderTokenOptions,
    end: { ...options.end, ...changes.end }
  }
}

async function start (t: Test, changes: Changes = {}, server: FastifyServerOptions = {}) {
  const world = await host()
  const app = Fastify({ logger: { level: 'trace', stream: { write: line => { world.logs.push(line) } } }, ...server })
  t.teardown(() => app.close())
  const { inject, send } = wire(app)
  await app.register(globalTokenRevocation, changed(world.options, changes))
  const post = (payload: unknown, token: string | undefined = revocationToken(acme), headers: Record<string, string> = {}) => inject({
    method: 'POST',
    url: '/global-token-revocation',
    headers: { ...(token !== '' && { authorization: `Bearer ${token}` }), 'content-type': 'application/json', ...headers },
    ...(payload !== undefined && { payload: typeof payload === 'string' ? payload : JSON.stringify(payload) })
  })
  const withToken = (changes: TokenChanges) => post(byEmail('alice@acme'), revocationToken(acme, changes))
  return { ...world, app, inject, send, post, withToken }
}

t.test('G1: a 204 comes after everything of the user has ended, in this order', async t => {
  const { post, steps, live, told, revocations } = await start(t)
  const before = Date.now()
  t.same(await post(byEmail('alice@acme')), done)
  t.strictSame(steps, [
    'resolve {"format":"email","email":"alice@acme"} for acme', 'mark alice@acme of acme', 'refresh tokens of alice@acme',
    'also end alice@acme',
    'sessions of alice@acme'
  ])
  t.equal(await live('alice@acme'), 0)
  t.equal(await live('bob@acme'), 3, 'nobody else is touched')
  t.equal(await live('alice@umbrella'), 3)
  t.equal(revocations.check({ subject: 'alice@acme', tenant: 'acme', issuedAt: before }), 'revoked')
  t.equal(revocations.check({ subject: 'alice@acme', tenant: 'umbrella', issuedAt: before }), 'live')
  t.strictSame(told, [{ scope: 'all', subject: 'alice@acme', tenant: 'acme', count: 3 }])
})

t.test('G2: users are named in every format of RFC 9493, with their members and no others', async t => {
  const seen: unknown[] = []
  const { post } = await start(t, {
    resolveSubject: subject => {
      seen.push(subject)
      return [{ subject: 'alice@acme' }]
    }
  })
  const subjects = [
    { format: 'email', email: 'Alice@Example.com' }, { format: 'iss_sub', iss: acme.issuer, sub: '00u1' }, { format: 'opaque', id: '1' },
    { format: 'phone_number', phone_number: '+12065550100' }, { format: 'account', uri: 'acct:alice@example.com' },
    { format: 'did', url: 'did:example:1' },
    { format: 'uri', uri: 'https://example.com/alice' }, { format: 'opaque', id: 'x'.repeat(1024) }
  ]
  for (const subject of subjects) t.same(await post({ sub_id: { ...subject, more: 1 } }), done, subject.format)
  t.strictSame(seen, subjects)
})

t.test('aliases are all resolved before anything ends, and each user ends once', async t => {
  const { post, steps, told } = await start(t)
  const aliases = (...emails: string[]) => ({
    sub_id: {
      format: 'aliases',
      identifiers: emails.map(email => ({ format: 'email', email }))
    }
  })
  t.same(await post(aliases('alice@acme', 'nobody', 'bob@acme', 'alice@acme')), done)
  t.strictSame(steps.slice(4), [
    'mark alice@acme of acme,bob@acme of acme', 'refresh tokens of alice@acme,bob@acme', 'also end alice@acme,bob@acme',
    'sessions of alice@acme', 'sessions of bob@acme'
  ])
  t.strictSame(told.map(event => 'subject' in event && event.subject), ['alice@acme', 'bob@acme'])
  t.same(await post(aliases('alice@acme', 'robot')), refused(422, 'unable'))
  t.same(await post(aliases('robot', 'admin', 'alice@acme')), refused(403, 'access_denied'))
  t.same(await post(aliases('nobody', 'nobody')), refused(404, 'not_found'))
  t.equal(steps.filter(step => step.startsWith('mark')).length, 1, 'one refusal answers for all')
  t.same(await post(aliases(...Array.from({ length: 10 }, () => 'alice@acme'))), done)
  t.same(await post(aliases(...Array.from({ length: 11 }, () => 'alice@acme'))), invalid('identifiers'))
})

t.test('G3: a user without a session is a 204 too, and nobody is notified', async t => {
  const { post, told } = await start(t)
  t.same(await post(byEmail('alice@acme')), done)
  t.same(await post(byEmail('alice@acme')), done)
  t.equal(told.length, 1)
})

t.test('G4, G5: a used token is answered again for its body, without effect, and refused for another one', async t => {
  const { post, steps, told, live, addSession } = await start(t)
  const token = revocationToken(acme)
  t.same(await post(byEmail('alice@acme'), token), done)
  await addSession('alice@acme', 'new login')
  const before = steps.length
  t.same(await post(byEmail('alice@acme'), token), done)
  t.equal(await live('alice@acme'), 1, 'the new login lives')
  t.same(await post(byEmail('bob@acme'), token), badToken('used'))
  t.same(await post(` ${JSON.stringify(byEmail('alice@acme'))}`, token), badToken('used'), 'even if it means the same user')
  t.equal(steps.length, before)
  t.equal(told.length, 1)
  t.equal(await live('bob@acme'), 3)
})

t.test('used tokens of two senders with the same jti are kept apart', async t => {
  const { post, live } = await start(t)
  const claims = { jti: '1' }
  t.same(await post(byEmail('alice@acme'), revocationToken(acme, { claims })), done)
  t.same(await post(byEmail('bob@umbrella'), revocationToken(umbrella, { claims })), done)
  t.equal(await live('bob@umbrella'), 0)
})

t.test('used tokens are remembered as long as they are accepted, as marks that revoke no real token', async t => {
  const { post, revocations } = await start(t, { authenticate: { clockTolerance: 5000 } })
  const marks: number[] = []
  revocations.onRevoked(mark => { if ('tokenId' in mark) marks.push(mark.until) })
  const exp = seconds() + 300
  t.same(await post(byEmail('alice@acme'), revocationToken(acme, { claims: { jti: 'j', exp } })), done)
  t.strictSame(marks, [exp * 1000 + 5000, exp * 1000 + 5000])
  t.equal(revocations.check({ tokenId: 'j', issuer: acme.issuer }), 'live')
})

t.test('G6, D3: of 50 equal requests at once each is a 204, and one notifies the host', async t => {
  const { post, told } = await start(t)
  const token = revocationToken(acme)
  const answers = await Promise.all(Array.from({ length: 50 }, () => post(byEmail('alice@acme'), token)))
  for (const answer of answers) t.same(answer, done)
  t.equal(told.length, 1)
})

t.test('G7: a new token moves the cutoff', async t => {
  const { post, revocations } = await start(t)
  await post(byEmail('alice@acme'))
  await sleep(5)
  const login = Date.now()
  await sleep(5)
  t.equal(revocations.check({ subject: 'alice@acme', tenant: 'acme', issuedAt: login }), 'live')
  t.same(await post(byEmail('alice@acme')), done)
  t.equal(revocations.check({ subject: 'alice@acme', tenant: 'acme', issuedAt: login }), 'revoked')
})

t.test('G8 to G11: what the host says of a user is the answer, and nothing ends', async t => {
  const { post, steps } = await start(t)
  t.same(await post(byEmail('nobody')), refused(404, 'not_found'))
  t.same(await post(byEmail('alice@umbrella')), refused(404, 'not_found'), 'G9: a user of another tenant is nobody')
  t.same(await post(byEmail('admin')), refused(403, 'access_denied'))
  t.same(await post(byEmail('robot')), refused(422, 'unable'))
  t.notOk(steps.some(step => !step.startsWith('resolve')))
})

t.test('the host is told which sender speaks, and in which request', async t => {
  const seen: unknown[] = []
  const { post } = await start(t, {
    resolveSubject: (_subject, sender, request) => {
      seen.push(sender, request.url)
      Object.assign(sender, { tenant: 'umbrella' })
      return [{ subject: 'alice@acme' }]
    }
  })
  await post(byEmail('alice@acme'))
  await post(byEmail('alice@acme'))
  const told = { issuer: acme.issuer, clientId: acme.clientId, tenant: 'acme' }
  t.match(seen[2], { ...told, tenant: 'umbrella' })
  t.same(seen[1], '/global-token-revocation')
  t.match(seen[0], { issuer: told.issuer, clientId: told.clientId })
})

t.test('what a host writes into what it is given changes nothing', async t => {
  const { post, told } = await start(t, {
    end: {
      revokeRefreshTokens: users => { for (const user of users) Object.assign(user, { subject: 'bob@acme' }) },
      alsoEnd: users => { (users as unknown[]).length = 0 }
    }
  })
  t.same(await post(byEmail('alice@acme')), done)
  t.match(told, [{ subject: 'alice@acme' }])
})

t.test('an answer of the host that is not a list of users is a 500', async t => {
  for (const answer of [undefined, null, 'nobody', { subject: 'alice' }, ['alice'], [{ subject: '' }], [{}], [null],
    [{ subject: 'alice', tenant: {} }], true]) {
    const { post, steps, logs } = await start(t, { resolveSubject: () => answer as never })
    t.same(await post(byEmail('alice@acme')), refused(500, 'server_error'), JSON.stringify(answer))
    t.strictSame(steps, [])
    t.ok(logs.some(line => line.includes('must return a list of users')))
  }
})

t.test('ids that are numbers count as their text', async t => {
  const { post, steps } = await start(t,
    { resolveSubject: () => [{ subject: 7, tenant: 8 }, { subject: '7', tenant: '8' }, { subject: 7, tenant: null }] as never })
  t.same(await post(byEmail('alice@acme')), done)
  t.match(steps[0], 'mark 7 of 8,7 of undefined')
})

t.test('G12: a request without one bearer token is unauthenticated', async t => {
  const { post, send } = await start(t)
  t.same(await post(byEmail('alice@acme'), ''), unauthenticated)
  for (const authorization of ['', 'Bearer', 'Bearer ', 'Basic YTpi', `Bearer ${revocationToken(acme)}, Bearer x`, revocationToken(acme)]) {
    t.same(await post(byEmail('alice@acme'), '', { authorization }), unauthenticated, authorization)
  }
  t.match(await send('POST /global-token-revocation', [['Content-Length', '0']]), { status: 401 })
})

t.test('G13 to G19: each token that is wrong is refused', async t => {
  const { withToken, post, steps, logs, live } = await start(t)
  const now = seconds()
  const rows: ReadonlyArray<readonly [description: string, changes: TokenChanges, what: string]> = [
    ...['JWT', 'logout+jwt', 'secevent+jwt', 'at+jwt', 'command+jwt', undefined, null,
      5].map(typ => ['type', { header: { typ } }, `typ ${typ}`] as const),
    ['type', { header: { crit: ['exp'] } }, 'a critical extension'],
    ['issuer', { claims: { iss: `${acme.issuer}/` } }, 'a slash'],
    ['issuer', { claims: { iss: undefined } }, 'no issuer'],
    ['issuer', { claims: { iss: [acme.issuer] } }, 'a list of issuers'],
    ['subject', { claims: { sub: 'another' } }, 'another client'],
    ['subject', { claims: { sub: umbrella.clientId } }, 'the client of another sender'],
    ['subject', { claims: { sub: undefined } }, 'no client'],
    ['algorithm', { algorithm: 'RS384' }, 'an algorithm that is not pinned'],
    ['algorithm', { algorithm: 'HS256', key: Buffer.from(acme.publicKey) }, 'the public key as a secret'],
    ['algorithm', { header: { alg: 'none' } }, 'none'],
    ['algorithm', { header: { alg: undefined } }, 'no algorithm'],
    ['signature', { key: umbrella.privateKey }, 'D4: the key of another sender'],
    ...['', `${endpointUrl}?x`, `${endpointUrl}/`, 'https://other.example/global-token-revocation', endpointUrl.replace('https', 'http'),
      undefined, null, 5,
      [], ['https://other.example'], [endpointUrl, 5],
      { 0: endpointUrl }].map(aud => ['audience', { claims: { aud } }, `aud ${JSON.stringify(aud)}`] as const),
    ...[undefined, null, '5', now - 61, -1, 1e300].map(exp => ['time', { claims: { exp, iat: now - 100 } }, `exp ${exp}`] as const),
    ...[undefined, null, '5', now + 65, now - 700].map(iat => ['time', { claims: { iat } }, `iat ${iat}`] as const),
    ...[null, '5', now + 65, {}].map(nbf => ['time', { claims: { nbf } }, `nbf ${nbf}`] as const),
    ...[undefined, null, '', 5, ['a'], 'x'.repeat(1025)].map(jti => ['jti', { claims: { jti } }, `jti ${jti}`] as const)
  ]
  for (const [description, changes, what] of rows) t.same(await withToken(changes), badToken(description), what)
  for (const rubbish of ['x', 'a.b.c', 'a.b.c.d.e', 'null', `${revocationToken(acme)}.`,
    revocationToken(acme, { claims: { long: 'x'.repeat(17_000) } })]) {
    t.same(await post(byEmail('alice@acme'), rubbish), badToken('type'), 'rubbish')
  }
  t.strictSame(steps, [], 'nobody is resolved')
  t.equal(await live('alice@acme'), 3)
  const refusals = logs.map(line => JSON.parse(line)).filter(({ event }) => event === 'security-event.refused')
  t.match(refusals[0], { level: 40, sender: 'unknown', code: 'type' })
  t.match(refusals.find(({ code }) => code === 'audience'), { sender: acme.issuer })
})

t.test('G13, G16, G17, G18: what differs within the rules is accepted', async t => {
  const { withToken } = await start(t)
  const now = seconds()
  for (const changes of [
    { header: { typ: 'Global-Token-Revocation+JWT' } }, { header: { typ: 'application/global-token-revocation+jwt' } },
    { header: { kid: undefined } },
    { claims: { aud: ['https://other.example', endpointUrl] } }, { claims: { nbf: undefined } },
    { claims: { nbf: now - 300, exp: now + 300 } },
    { claims: { iat: now + 55, exp: now + 355, nbf: now + 55 } }, { claims: { iat: now - 350, exp: now - 55 } },
    { claims: { exp: now + 900, iat: now } },
    { claims: { jti: 'x'.repeat(1024), others: 1 } }
  ]) t.same(await withToken(changes), done, JSON.stringify(changes))
})

t.test('the longest lifetime and the tolerance are the host\'s to choose', async t => {
  const { withToken } = await start(t, { authenticate: { maxTokenLifetime: 60_000, clockTolerance: 0 } })
  const now = seconds()
  t.same(await withToken({ claims: { exp: now + 61, iat: now } }), badToken('time'))
  t.same(await withToken({ claims: { exp: now + 59, iat: now - 1 } }), done)
  t.same(await withToken({ claims: { exp: now + 30, iat: now + 5 } }), badToken('time'))
})

t.test('G14, G20: keys of a key set; an unknown key is refused, and a key set that cannot be reached is a 503', async t => {
  const issuer = await startIssuer()
  t.teardown(() => issuer.close())
  issuer.addKey('a', 'RS256')
  const { post, live } = await start(t,
    {
      authenticate: { senders: [{ issuer: issuer.url, clientId: acme.clientId, jwksUri: `${issuer.url}${jwksPath}`, tenant: 'acme' }] },
      timeout: 300
    })
  const now = seconds()
  const claims = { iss: issuer.url, sub: acme.clientId, aud: endpointUrl, iat: now, exp: now + 300 }
  const typ = 'global-token-revocation+jwt'
  issuer.odd.set(jwksPath, response => { response.writeHead(500).end() })
  t.same(await post(byEmail('alice@acme'), issuer.sign('a', { ...claims, jti: '1' }, { typ }, 'RS256')), outage)
  await sleep(1010)
  issuer.odd.set(jwksPath, () => {})
  t.same(await post(byEmail('alice@acme'), issuer.sign('a', { ...claims, jti: '1' }, { typ }, 'RS256')), outage, 'late')
  t.equal(await live('alice@acme'), 3)
  issuer.odd.clear()
  await sleep(1310)
  t.same(await post(byEmail('alice@acme'), issuer.sign('a', { ...claims, jti: '1' }, { typ }, 'RS256')), done)
  t.same(await post(byEmail('alice@acme'), signJwt(acme.privateKey, 'RS256', { ...claims, jti: '2' }, { typ, kid: 'b' })),
    badToken('signature'))
})

t.test('G21: a body that is not a command is refused', async t => {
  const { post, send, steps, logs } = await start(t)
  const rows: ReadonlyArray<readonly [description: string, body: unknown]> = [
    ...[undefined, '', ' ', '{', '{"sub_id":', 'null{', '{"sub_id":{"format":"opaque","id":"1"}} x',
      '{"sub_id":{"format":"opaque","id":"1"},"__proto__":{}}',
      '{"sub_id":{"format":"opaque","id":"1","__proto__":{"a":1}}}',
      '{"constructor":{"prototype":{}}}'].map(body => ['body', body] as const),
    ...['null', '5', '"x"', '[]', '[{"sub_id":{}}]', '{}', '{"sub_id":null}', '{"sub_id":[]}', '{"sub_id":"alice"}',
      '{"subject":{"format":"opaque","id":"1"}}']
      .map(body => ['sub_id', body] as const),
    ...[{}, { format: '' }, { format: 5 }, { format: 'x' }, { format: 'complex', user: { format: 'opaque', id: '1' } },
      { format: 'jwt_id', iss: 'a', jti: 'b' },
      { format: 'saml_assertion_id', issuer: 'a', assertion_id: 'b' }, { format: 'ip-addresses', 'ip-addresses': ['::1'] },
      { format: 'constructor' },
      { format: 'aliases', identifiers: [{ format: 'aliases', identifiers: [] }] }, { format: 'unknown' }, { format: 'toString' }]
      .map(subject => ['format', { sub_id: subject }] as const),
    ...[undefined, '', 5, null, ['a'], 'x'.repeat(1025)].map(email => ['email', { sub_id: { format: 'email', email } }] as const),
    ['sub', { sub_id: { format: 'iss_sub', iss: 'a' } }], ['iss', { sub_id: { format: 'iss_sub', sub: 'a' } }],
    ['id', { sub_id: { format: 'opaque' } }],
    ['phone_number', { sub_id: { format: 'phone_number' } }], ['uri', { sub_id: { format: 'account' } }],
    ['url', { sub_id: { format: 'did' } }],
    ['uri', { sub_id: { format: 'uri' } }],
    ...[undefined, [], {}, 'x', [5], [[]]].map(identifiers => ['identifiers', { sub_id: { format: 'aliases', identifiers } }] as const),
    ['id', { sub_id: { format: 'aliases', identifiers: [{ format: 'opaque' }] } }]
  ]
  for (const [description, body] of rows) t.same(await post(body), invalid(description), JSON.stringify(body))
  const authorization = ['Authorization', `Bearer ${revocationToken(acme)}`] as const
  t.match(await send('POST /global-token-revocation', [authorization]),
    { status: 400, body: '{"error":"invalid_request","error_description":"body"}' })
  t.strictSame(steps, [])
  t.match(logs.map(line => JSON.parse(line)).find(({ code }) => code === 'phone_number'),
    { event: 'security-event.refused', sender: acme.issuer })
})

t.test('G22: other media types are refused, and parameters are allowed', async t => {
  const { post } = await start(t)
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/secevent+jwt', 'rubbish', 'application/json5']) {
    t.same(await post(byEmail('alice@acme'), undefined, { 'content-type': type }), invalid('media type'), type)
  }
  for (const type of ['application/json; charset=utf-8', 'Application/JSON']) {
    t.same(await post(byEmail('alice@acme'), undefined,
      { 'content-type': type }), done, type)
  }
  t.same(await post('', undefined, { 'content-type': 'text/plain' }), invalid('body'))
})

t.test('a body over 64 KiB is refused', async t => {
  const { post } = await start(t)
  t.same(await post({ ...byEmail('alice@acme'), more: 'x'.repeat(65_536) }), refused(413, 'payload_too_large'))
  t.same(await post({ ...byEmail('alice@acme'), more: 'x'.repeat(65_000) }), done, 'G23: unknown members are ignored')
})

t.test('G24: the member "subject" of draft 02 is accepted from a sender that may send it', async t => {
  const { post } = await start(t, { authenticate: { senders: [{ ...sender, tolerate: ['subject'] }, otherSender] } })
  const { sub_id: subject } = byEmail('alice@acme')
  t.same(await post({ subject }), done)
  t.same(await post({ sub_id: null, subject }), invalid('sub_id'), 'sub_id counts where it is given')
  t.same(await post({ subject }, revocationToken(umbrella)), invalid('sub_id'))
})

t.test('G26: the token is judged before the body is read', async t => {
  const { post } = await start(t)
  t.same(await post('{"', ''), unauthenticated)
  t.same(await post('x'.repeat(70_000), 'x'), badToken('type'))
})

function brokenSteps (way: string, step: () => Promise<never>): Readonly<Record<string, Changes>> {
  return {
    [`resolveSubject ${way}`]: { resolveSubject: step },
    [`revoke ${way}`]: { end: { revoke: { revocations: { revoke: step }, lifetime: 1000 } } },
    [`revokeRefreshTokens ${way}`]: { end: { revokeRefreshTokens: step } },
    [`alsoEnd ${way}`]: { end: { alsoEnd: step } },
    [`sessions ${way}`]: { end: { sessions: { logOutSubject: step } } },
    [`the check of used tokens ${way}`]: { authenticate: { revocations: { check: step, revoke: () => true } } },
    [`remembering used tokens ${way}`]: { authenticate: { revocations: { check: () => 'live', revoke: step } } }
  }
}

t.test('G27: a step that fails or is late is a 503, and the same request finishes', async t => {
  const failing = { ...brokenSteps('fails', fail), ...brokenSteps('is late', hang) }
  for (const [what, changes] of Object.entries(failing)) {
    const broken = await start(t, { ...changes, timeout: 30 })
    const token = revocationToken(acme)
    t.same(await broken.post(byEmail('alice@acme'), token), outage, what)
    const log = broken.logs.map(line => JSON.parse(line)).find(({ event }) => event === 'logout.outage')
    t.equal(log?.level, 50, 'an outage is logged')
    const rest = what.startsWith('remembering')
    t.equal(broken.told.length, rest ? 1 : 0,
      rest ? 'what ended is told: the repeat sees no edge any more' : 'nobody is told of a logout that is not sure')
  }

  const world = await host()
  let isBroken = true
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(globalTokenRevocation, changed(world.options, {
    end: { alsoEnd: async () => { if (isBroken) throw new Error('down') } }
  }))
  const request = {
    method: 'POST' as const,
    url: '/global-token-revocation',
    headers: { authorization: `Bearer ${revocationToken(acme)}` },
    payload: byEmail('alice@acme')
  }
  t.equal((await app.inject(request)).statusCode, 503)
  t.equal(await world.live('alice@acme'), 3)
  isBroken = false
  t.equal((await app.inject(request)).statusCode, 204)
  t.equal(await world.live('alice@acme'), 0)
  t.equal((await app.inject(request)).statusCode, 204)
  t.equal(world.told.length, 1)
})

t.test('all steps together take at most five times the timeout', async t => {
  const slow = () => sleep(40)
  const { post, live } = await start(t, {
    timeout: 50,
    resolveSubject: async () => {
      await slow()
      return [{ subject: 'alice@acme' }, { subject: 'bob@acme' }]
    },
    end: {
      revokeRefreshTokens: slow,
      alsoEnd: slow,
      revoke: {
        revocations: { revoke: slow }, lifetime: 1000
      },
      sessions: {
        logOutSubject: async () => {
          await slow()
          return 3
        }
      }
    },
    authenticate: {
      revocations: {
        check: async () => {
          await slow()
          return 'live' as const
        },
        revoke: async () => {
          await slow()
          return true
        }
      }
    }
  })
  t.same(await post(byEmail('alice@acme')), outage)
  t.equal(await live('alice@acme'), 3)
})

t.test('a store that says yes after the timeout is told of once, and the repeat is a 204', async t => {
  let release = () => {}
  const { post, told, sessions } = await start(t, {
    timeout: 30,
    end: {
      sessions: {
        logOutSubject: async query => {
          const ended = await sessions.logOutSubject(query)
          await new Promise<void>(resolve => { release = resolve })
          return ended
        }
      }
    }
  })
  const token = revocationToken(acme)
  t.same(await post(byEmail('alice@acme'), token), outage)
  t.equal(told.length, 0)
  release()
  await sleep(10)
  t.strictSame(told, [{ scope: 'all', subject: 'alice@acme', tenant: 'acme', count: 3 }])
})

t.test('G28: a login after the command lives', async t => {
  const { post, live, addSession, revocations } = await start(t)
  t.same(await post(byEmail('alice@acme')), done)
  await sleep(2)
  await addSession('alice@acme', 'later')
  t.equal(await live('alice@acme'), 1)
  t.equal(revocations.check({ subject: 'alice@acme', tenant: 'acme', issuedAt: Date.now() }), 'live')
})

t.test('G29: other methods are the host\'s 404', async t => {
  const { inject } = await start(t)
  for (const method of ['GET', 'HEAD', 'PUT',
    'DELETE'] as const) t.equal((await inject({ method, url: '/global-token-revocation' })).status, 404, method)
})

t.test('G30: each sender has its own keys, clients and tenant on one path', async t => {
  const second = { ...sender, clientId: 'second', tenant: 'acme-two' }
  const { post, steps } = await start(t, { authenticate: { senders: [sender, second, otherSender] } })
  t.same(await post(byEmail('alice@acme'), revocationToken(umbrella)), refused(404, 'not_found'))
  t.same(await post(byEmail('alice@acme'), revocationToken(acme, { claims: { sub: 'second' } })), refused(404, 'not_found'))
  t.same(await post(byEmail('alice@acme')), done)
  t.strictSame(steps.filter(step => step.startsWith('resolve')).map(step => step.split(' for ')[1]), ['umbrella', 'acme-two', 'acme'])
  t.same(await post(byEmail('alice@acme'), revocationToken(acme, { key: umbrella.privateKey })), badToken('signature'))
  t.same(await post(byEmail('alice@umbrella'), revocationToken(umbrella, { key: acme.privateKey })), badToken('signature'))
})

t.test('a host that authenticates senders itself needs no tokens of theirs', async t => {
  const { authenticate: _tokens, ...others } = (await host()).options
  const app = Fastify()
  t.teardown(() => app.close())
  const { inject } = wire(app)
  const seen: unknown[] = []
  await app.register(globalTokenRevocation, {
    ...others,
    authenticate: async ({ headers: { authorization } }) => {
      if (authorization === 'down') throw new Error('down')
      return authorization === 'Bearer opaque'
        ? {
            issuer: acme.issuer,
            tenant: 'acme',
            tolerate: ['subject']
          }
        : authorization === 'Bearer strict' ? { issuer: acme.issuer } : authorization === 'null' ? null as never : undefined
    },
    resolveSubject: (_subject, sender) => {
      seen.push(sender)
      return [{ subject: 'alice@acme' }]
    }
  })
  const post = (authorization: string,
    payload: object) => inject({ method: 'POST', url: '/global-token-revocation', headers: { authorization }, payload })
  t.same(await post('Bearer opaque', byEmail('alice@acme')), done)
  t.same(await post('Bearer opaque', { subject: byEmail('bob@acme').sub_id }), done, 'no token is remembered')
  t.strictSame(seen, [{ issuer: acme.issuer, tenant: 'acme' }, { issuer: acme.issuer, tenant: 'acme' }])
  t.same(await post('Bearer strict', { subject: byEmail('bob@acme').sub_id }), invalid('sub_id'), 'nothing is tolerated by itself')
  t.same(await post('Bearer another', byEmail('alice@acme')), unauthenticated)
  t.same(await post('null', byEmail('alice@acme')), unauthenticated)
  t.same(await post('down', byEmail('alice@acme')), outage)
})

t.test('only a sender with an issuer is let in, whatever else "authenticate" returns', async t => {
  const { authenticate: _tokens, ...others } = (await host()).options
  const answers: unknown[] = [undefined, null, false, true, 0, 1, '', 'yes', [], {}, { issuer: '' }, { issuer: 5 }]
  const statuses: number[] = []
  for (const answer of answers) {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(globalTokenRevocation, {
      ...others, authenticate: () => answer as never, resolveSubject: () => t.fail(`${JSON.stringify(answer)} was let in`) as never
    })
    const { statusCode } = await app.inject({ method: 'POST', url: '/global-token-revocation', payload: byEmail('alice@acme') })
    statuses.push(statusCode)
  }
  t.strictSame(statuses, [401, 401, 401, ...answers.slice(3).map(() => 500)])
})

t.test('without sessions the host is notified each time, and a store that cannot count is told of without a number', async t => {
  const { post, told } = await start(t, { end: { sessions: undefined } })
  await post(byEmail('alice@acme'))
  await post(byEmail('alice@acme'))
  t.strictSame(told, [{ scope: 'all', subject: 'alice@acme', tenant: 'acme' }, { scope: 'all', subject: 'alice@acme', tenant: 'acme' }])
  const uncounted = await start(t, { end: { sessions: { logOutSubject: () => {} } }, resolveSubject: () => [{ subject: 'alice@acme' }] })
  await uncounted.post(byEmail('alice@acme'))
  t.strictSame(uncounted.told, [{ scope: 'all', subject: 'alice@acme' }])
})

t.test('the session store learns the tenant of a user who has one', async t => {
  const queries: unknown[] = []
  const { post } = await start(t, { end: { sessions: { logOutSubject: query => { queries.push(query) } } } })
  await post(byEmail('alice@acme'))
  t.strictSame(queries, [{ subject: 'alice@acme', tenant: 'acme', count: true }])
})

t.test('a host that fails in onLogout changes nothing', async t => {
  const { post, logs } = await start(t, { onLogout: fail })
  t.same(await post(byEmail('alice@acme')), done)
  t.ok(logs.some(line => line.includes('logout.hook-failed')))
})

t.test('a host without refresh tokens says so', async t => {
  const { post, steps } = await start(t, { end: { revokeRefreshTokens: false, alsoEnd: undefined, revoke: undefined } })
  t.same(await post(byEmail('alice@acme')), done)
  t.strictSame(steps.slice(1), ['sessions of alice@acme'])
})

t.test('the command that the host is given', async t => {
  const given: unknown[] = []
  const { post } = await start(t, {
    end: {
      revokeRefreshTokens: (users, command, request) => { given.push(users, command, request.method) },
      alsoEnd: (users, command, request) => { given.push(users, command, request.method) }
    }
  })
  await post(byEmail('alice@acme'))
  for (const half of [given.slice(0, 3), given.slice(3)]) {
    t.match(half, [
      [{ subject: 'alice@acme', tenant: 'acme' }],
      {
        subject: { format: 'email', email: 'alice@acme' },
        sender: { issuer: acme.issuer, clientId: acme.clientId, tenant: 'acme' },
        at: Number
      },
      'POST'
    ])
  }
})

t.test('no subject, token or credential is in the log, whatever happens', async t => {
  const { post, withToken, logs } = await start(t)
  const token = revocationToken(acme)
  await post(byEmail('alice@acme'), token)
  await post(byEmail('bob@acme'), token)
  await post(byEmail('carol@acme'))
  await post('{"sub_id":{"format":"email","email":"dave@acme"')
  await withToken({ claims: { jti: undefined, secret: 'erin' } })
  t.notMatch(logs.join(''), /alice|bob|carol|dave|erin|eyJ/)
})

t.test('a hook of the host that refuses keeps its status', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const { inject } = wire(app)
  app.addHook('onRequest', async ({ headers }) => {
    if (headers['x-refuse'] !== undefined) throw Object.assign(new Error('a secret'), { statusCode: Number(headers['x-refuse']) })
  })
  await app.register(globalTokenRevocation, (await host()).options)
  const post = (status: number) => inject({
    method: 'POST',
    url: '/global-token-revocation',
    headers: { 'x-refuse': String(status) },
    payload: '{"'
  })
  t.same(await post(429), refused(429, 'too_many_requests'))
  t.same(await post(402), refused(402, 'payment_required'))
  t.same(await post(500), refused(500, 'server_error'))
})

t.test('the path can be another one', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(globalTokenRevocation, {
    ...(await host()).options, route: { path: '/logout/okta', security: [{ okta: [] }] }, prefix: '/v1'
  })
  t.equal((await app.inject({ method: 'POST', url: '/v1/logout/okta' })).statusCode, 401)
})

t.test('the limit of requests is off by default, and can be given', async t => {
  const open = await start(t)
  for (let i = 0; i < 3; i++) t.same(await open.post(byEmail('alice@acme')), done)
  const limited = await start(t, { route: { rateLimit: { max: 1 } } })
  t.equal((await limited.post(byEmail('alice@acme'))).status, 204)
  t.match(await limited.post(byEmail('alice@acme')), {
    status: 429, headers: { 'retry-after': String }, body: '{"error":"too_many_requests"}'
  })
})

t.test('a missing or wrong option is a TypeError that names it', async t => {
  const { options } = await host()
  const functions = [null, 'x', {}]
  const wrong: WrongOptions = {
    resolveSubject: [undefined, ...functions],
    'end.revokeRefreshTokens': [undefined, true, ...functions],
    'end.sessions': [null, {}, 'x', { logOutSubject: 'x' }],
    'end.alsoEnd': functions,
    onLogout: functions,
    end: [undefined, null, 'x', []],
    'end.revoke': [null, 'x'],
    'end.revoke.revocations': [undefined, {}],
    'end.revoke.lifetime': [undefined, 0, 'x'],
    'end.revoke.clockTolerance': [-1, 'x'],
    'authenticate.senders': [undefined, [], 'x'],
    'authenticate.endpointUrl': [undefined, '', 'x', '/path', 'ftp://a.example', 'https://a.example/?x', 'https://a.example/#x', 'https://', 5],
    'authenticate.revocations': [undefined, null, {}, { check: () => 'live' }, { revoke: () => true }],
    path: ['/x'],
    rateLimit: [{}],
    security: [[]],
    senders: [[]],
    endpointUrl: ['https://a.example'],
    revocations: [{}],
    clockTolerance: [0],
    maxTokenLifetime: [1],
    sessions: [{}],
    revoke: [{}],
    alsoEnd: [() => {}],
    revokeRefreshTokens: [false],
    route: [null, 'x'],
    'route.path': ['', 'x', 5],
    timeout: [0, 'x'],
    'authenticate.clockTolerance': [-1, 'x', 3_600_001],
    'authenticate.maxTokenLifetime': [0, 'x'],
    authenticate: [undefined, null, 'x', []]
  }
  await assertMisuse(t, globalTokenRevocation as never, 'globalTokenRevocation', options, wrong)
  await t.rejects(Promise.resolve(Fastify().register(globalTokenRevocation, { ...options, end: { revokeRefreshTokens: false } })), {
    message: 'globalTokenRevocation: option "end" must have "sessions", "revoke" or "alsoEnd" at least'
  })
})

t.test('a sender that is missing something, or has it wrong, is a TypeError that names it', async t => {
  const { options } = await host()
  const misuse = (senders: unknown, start: string) => t.rejects(
    Promise.resolve(Fastify().register(globalTokenRevocation, changed(options, {
      authenticate: { senders: senders as never }
    }))).catch((error: Error) => {
      throw Object.assign(error, { message: error.message.slice(0, start.length) })
    }), { name: 'TypeError', message: start })
  const wrong: WrongOptions = {
    issuer: [undefined, '', 5],
    clientId: [undefined, '', 5, ['a']],
    algorithms: [[], ['none'], 'RS256'],
    key: ['rubbish'],
    tenant: ['', 5, null],
    tolerate: ['subject', ['others'], null]
  }
  for (const [name, values] of Object.entries(wrong)) {
    for (const value of values) {
      await misuse([otherSender, { ...sender, [name]: value }], `globalTokenRevocation: option "authenticate.senders[1].${name}" must be`)
    }
  }
  for (const given of [null, 'x']) {
    await misuse([otherSender, given], 'globalTokenRevocation: option "authenticate.senders[1]" must be an object')
  }
  await misuse([sender, sender], 'globalTokenRevocation: option "authenticate.senders" must name each issuer and clientId once')
})
