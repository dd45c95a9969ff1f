import Fastify from 'fastify'
import { generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import { globalTokenRevocation } from '../../lib/flows/global-token-revocation.ts'
import { securityEvents } from '../../lib/flows/security-events.ts'
import { memoryRevocationStore } from '../../lib/revocation-stores/memory.ts'
import { memorySessionStore } from '../../lib/session-stores/memory.ts'
import { signJwt } from '../sign-jwt.ts'

// 100,000 requests with odd headers, tokens and bodies, half of them signed by the right key. `FUZZ_SEED` repeats a run.
const requests = Number(process.env['ABUSE_REQUESTS'] ?? 100_000)
let seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 1_000_000_007)
t.comment(`FUZZ_SEED=${seed}`)

function random (): number {
  seed = (seed * 48_271) % 2_147_483_647
  return seed / 2_147_483_647
}

const pick = <Item> (items: readonly Item[]): Item => items[Math.floor(random() * items.length)] as Item

const issuer = 'https://acme.example'
const endpointUrl = 'https://app.example/global-token-revocation'
const base = 'https://schemas.openid.net/secevent/'
/** Stands in every subject, credential and error of the host's functions. */
const secret = 's3cret'
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
const key = publicKey.export({ type: 'spki', format: 'pem' }).toString()

const logs: string[] = []
const app = Fastify({ logger: { level: 'trace', stream: { write: (line: string) => { logs.push(line) } } } })
let number = 0
const sessions = memorySessionStore({ maxSessions: 1_000_000 })
const common = {
  timeout: 1000,
  resolveSubject: (subject: { readonly format: string }) => {
    number++
    if (number % 50 === 0) throw new Error('down')
    if (number % 11 === 0) return 'forbidden' as const
    if (number % 13 === 0) return 'unable' as const
    return number % 7 === 0 ? [] : [{ subject: `${secret}-${subject.format}` }]
  }
}
const revocations = memoryRevocationStore()
await app.register(globalTokenRevocation, {
  ...common,
  authenticate: { senders: [{ issuer, clientId: 'us', key, algorithms: ['ES256'], tolerate: ['subject'] }], endpointUrl, revocations },
  end: { revokeRefreshTokens: false, sessions }
})
await app.register(securityEvents, {
  ...common,
  revocations,
  end: { sessions },
  streams: [
    { issuer, audience: 'us', key, algorithms: ['ES256'], tolerate: ['risc-draft', 'event-subject'], criticalMembers: ['device'] },
    { issuer: 'https://umbrella.example', audience: 'us', key, algorithms: ['ES256'], authorization: `Bearer ${secret}` }
  ]
})

const odd = [
  undefined, null, true, 0, -1, 1e300, 1.5, '', ' ', 'x', secret, '__proto__', 'constructor', [], {}, [null],
  { format: 'opaque', id: secret }, '\u0000', '\ud800',
  'é'.repeat(600), 'x'.repeat(3000), { __proto__: { admin: true } }, issuer, `${issuer}/`, 'us', endpointUrl, Number.MAX_SAFE_INTEGER
]
const subjects = [
  { format: 'email', email: secret }, { format: 'iss_sub', iss: issuer, sub: secret }, { format: 'opaque', id: secret },
  { format: 'phone_number', phone_number: secret },
  { format: 'aliases', identifiers: [{ format: 'opaque', id: secret }, { format: 'email', email: secret }] },
  { format: 'jwt_id', iss: issuer, jti: secret },
  { format: 'complex', user: { format: 'opaque', id: secret }, device: { format: 'x', id: secret } },
  { format: 'ip-addresses', 'ip-addresses': [secret] }, { format: 'x' }
]
const types = [
  `${base}caep/event-type/session-revoked`, `${base}risc/event-type/account-disabled`, `${base}caep/event-type/credential-change`,
  `${base}ssf/event-type/verification`, `${base}ssf/event-type/stream-updated`, `${base}risc/event-type/verification`,
  'https://example.com/event', '__proto__'
]

/** The same object, as often as not with one member that is odd, missing or more. */
function changed (object: object): object {
  if (random() < 0.4) return object
  const names = [...Object.keys(object),
    pick(['crit', 'exp', 'sub', 'nonce', 'events', 'sub_id', 'subject', 'state', 'kid', 'event_timestamp', 'subject_type'])]
  return { ...object, [pick(names)]: pick(odd) }
}

/** The same text, sometimes with a piece of it replaced. */
function mutated (text: string): string {
  if (random() < 0.85) return text
  const at = Math.floor(random() * (text.length + 1))
  return text.slice(0, at) + pick(['', '.', '"', '{', 'AAAA', '\u0000', '=', ',', ' ', 'x'.repeat(20_000),
    '9'.repeat(400)]) + text.slice(at + Math.floor(random() * 6))
}

function signed (claims: object, typ: string): string {
  const header = changed({ typ, kid: '1', ...(random() < 0.03 && { alg: pick(['none', 'HS256', 'RS256', 5, null]) }) })
  return mutated(signJwt(random() < 0.95 ? privateKey : other, 'ES256', changed(claims), header))
}

const printable = (text: string) => text.replace(/[^\u0020-\u007e]/g, '?')

function commandRequest () {
  const now = Math.floor(Date.now() / 1000)
  const token = signed({
    jti: `${Math.floor(random() * 5000)}`,
    iss: issuer,
    sub: 'us',
    aud: endpointUrl,
    iat: now,
    exp: now + 300,
    nbf: now - 300
  },
  'global-token-revocation+jwt')
  const authorization = printable(random() < 0.95 ? `Bearer ${token}` : mutated(`${pick(['Basic', 'Bearer', ''])} ${secret}`))
  const body = JSON.stringify(changed({ sub_id: changed(pick(subjects)) }))
  return { url: '/global-token-revocation', type: 'application/json', authorization, payload: mutated(body) }
}

function eventRequest () {
  const iat = Math.floor(Date.now() / 1000) - Math.floor(random() * 300)
  const event = changed(pick([{}, { event_timestamp: iat }, { state: secret }, { status: 'paused' }, { change_type: 'update' },
    { subject: pick(subjects) },
    { subject: { subject_type: 'iss-sub', iss: issuer, sub: secret } }]))
  const claims = {
    jti: `${Math.floor(random() * 5000)}`,
    iss: random() < 0.9 ? issuer : 'https://umbrella.example',
    aud: 'us',
    iat,
    sub_id: changed(pick(subjects))
  }
  const token = signed({ ...claims, events: Object.fromEntries([[pick(types), event]]) }, 'secevent+jwt')
  return {
    url: '/security-events',
    type: 'application/secevent+jwt',
    authorization: random() < 0.5 ? `Bearer ${secret}` : '',
    payload: token
  }
}

const documented: Readonly<Record<string, Readonly<Record<number, RegExp>>>> = {
  '/global-token-revocation': {
    204: /^$/,
    400: /^\{"error":"invalid_request","error_description":"(media type|body|sub_id|format|email|iss|sub|id|phone_number|identifiers)"\}$/,
    401: /^\{"error":"invalid_token","error_description":"(missing|type|algorithm|signature|issuer|subject|audience|time|jti|used)"\}$/,
    403: /^\{"error":"access_denied"\}$/,
    404: /^\{"error":"not_found"\}$/,
    413: /^\{"error":"payload_too_large"\}$/,
    422: /^\{"error":"unable"\}$/,
    503: /^\{"error":"temporarily_unavailable"\}$/
  },
  '/security-events': {
    202: /^$/,
    400: /^\{"err":"(invalid_(request|key|issuer|audience|state)|authentication_failed)","description":"[a-zA-Z_ ]+"\}$/,
    401: /^\{"err":"authentication_failed","description":"authorization"\}$/,
    413: /^\{"error":"payload_too_large"\}$/,
    503: /^\{"error":"temporarily_unavailable"\}$/
  }
}

t.test(`${requests} odd commands and events: only documented responses, and no subject, token or credential in the log`,
  { timeout: 600_000 }, async t => {
    const counts: Record<string, number> = {}
    const surprises: string[] = []
    for (let sent = 0; sent < requests; sent++) {
      const { url, type, authorization, payload } = random() < 0.5 ? commandRequest() : eventRequest()
      const headers = {
        ...(authorization !== '' && { authorization }),
        'content-type': random() < 0.97 ? type : pick(['text/plain', '', 'rubbish', 'application/json;x'])
      }
      if (sent % 1000 === 0) await addSessions(sent)
      const { statusCode, body } = await app.inject({
        method: 'POST',
        url,
        headers,
        payload: random() < 0.002 ? 'x'.repeat(70_000) : payload
      })
      counts[`${url} ${statusCode}`] = (counts[`${url} ${statusCode}`] ?? 0) + 1
      if (documented[url]?.[statusCode]?.test(body) !== true) surprises.push(`${url} ${statusCode} ${body.slice(0, 200)}`)
      const logged = logs.splice(0).map(line => line.replace(/"jti":"[^"]*"/, ''))
      surprises.push(...logged.filter(line => /s3cret|eyJ[\w-]|Bearer/.test(line)).map(line => line.slice(0, 300)))
    }
    t.comment(JSON.stringify(counts))
    t.strictSame([...new Set(surprises)].slice(0, 20), [])
    for (const [url, statuses] of Object.entries(documented)) {
      for (const status of Object.keys(statuses)) t.ok(counts[`${url} ${status}`], `${url} ${status} was met`)
    }
  })

async function addSessions (sent: number): Promise<void> {
  const now = Date.now()
  for (const format of ['email', 'opaque', 'iss_sub', 'complex']) {
    const id = `${sent}-${format}`
    await sessions.create(id, {
      id, subject: `${secret}-${format}`, createdAt: now - 1000, expiresAt: now + 600_000, keepUntil: now + 600_000
    })
  }
}
