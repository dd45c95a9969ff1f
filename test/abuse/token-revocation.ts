import Fastify from 'fastify'
import t from 'tap'
import { tokenRevocation } from '../../lib/flows/token-revocation.ts'
import { assertDeclared } from '../wire.ts'

// 100,000 forms and credentials of clients, most of them a little wrong: only documented statuses, nothing is revoked for a client
// without its secret, no crash, and no token or secret in a response or in the log. `FUZZ_SEED` repeats a run.
const requests = Number(process.env['ABUSE_REQUESTS'] ?? 100_000)
let seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 1_000_000_007)
t.comment(`FUZZ_SEED=${seed}`)

function random (): number {
  seed = (seed * 48_271) % 2_147_483_647
  return seed / 2_147_483_647
}

const below = (limit: number) => Math.floor(random() * limit)
const pick = <Item> (items: readonly Item[]): Item => items[below(items.length)] as Item
const often = (percent: number) => below(100) < percent

/** Stands in every token, secret and error of the host's functions. */
const secret = 's3cret'
const junk = ['', '.', '%', '%00', '\u0000', '&', '=', '+', 'ä', 'x'.repeat(70_000), '%zz', '{', '"', '%0d%0a', ':', '%E2%82']

function mutated (text: string): string {
  const start = below(text.length + 1)
  return text.slice(0, start) + pick(junk) + text.slice(start + below(4))
}

const logs: string[] = []
const app = Fastify({ logger: { level: 'trace', stream: { write: (line: string) => { logs.push(line) } } } })
let responses: Parameters<typeof assertDeclared>[0] = {}
app.addHook('onRoute', ({ schema }) => { responses = (schema as { response: typeof responses }).response })
let calls = 0
/** What was revoked, and for whom. */
const revoked: Array<readonly [token: string, clientId: string]> = []
const failSometimes = () => { if (++calls % 50 === 0) throw new Error(`the database is down: host${'name'}`) }

await app.register(tokenRevocation, {
  authenticateClient: ({ id, secret: given }) => {
    failSometimes()
    return given === `${secret}-${id}` ? id : undefined
  },
  revokeToken: ({ token, clientId }) => {
    failSometimes()
    if (token.endsWith('permanent')) return 'unsupported'
    if (!token.startsWith(`${secret}-${clientId}`)) return undefined
    revoked.push([token, clientId])
    return 'revoked'
  }
})

const clients = ['shop', 'bakery', 'a+b c', 'nobody']
const encoded = (text: string) => new URLSearchParams({ '': text }).toString().slice(1)
const base64 = (text: string) => Buffer.from(text).toString('base64')
const types = ['application/x-www-form-urlencoded', 'application/x-www-form-urlencoded; charset=utf-8', 'application/json', 'rubbish', '']

/** One request, and whether a client proved itself in it, well or badly. */
function request () {
  const client = pick(clients)
  const proof = `${secret}-${often(85) ? client : pick(clients)}`
  const inForm = often(50)
  const parameters = [
    ['token', `${secret}-${pick(clients)}-${pick(['1', '2', 'permanent'])}`],
    ...(often(30) ? [['token_type_hint', pick(['refresh_token', 'access_token', 'x', ''])]] : []),
    ...(inForm ? [['client_id', client], ['client_secret', proof]] : []),
    ...(often(5) ? [['client_assertion', `${base64('{}')}.${base64('{"sub":"shop"}')}.`], ['client_assertion_type', 'jwt']] : []),
    ...(often(5) ? [['token', 'x']] : [])
  ]
  const form = parameters.map(pair => pair.map(text => encoded(String(text))).join('=')).sort(() => random() - 0.5).join('&')
  const credentials = `${encoded(client)}:${encoded(proof)}`
  const basic = `Basic ${base64(often(10) ? mutated(credentials) : credentials)}`
  const authorization = often(5) ? pick(['Bearer x', 'Basic', 'Basic :', mutated('Basic x').replace(/[^ -~]/g, '')]) : basic
  return {
    payload: often(10) ? mutated(form) : form,
    headers: {
      'content-type': often(90) ? String(types[0]) : pick(types),
      ...(!inForm || often(3) ? { authorization } : {}),
      ...(often(2) && { 'content-encoding': 'gzip' })
    }
  }
}

t.test(`${requests} requests to revoke tokens`, { timeout: 1_200_000 }, async t => {
  t.teardown(() => app.close())
  const statuses = new Map<number, number>()
  for (let sent = 0; sent < requests; sent++) {
    const before = revoked.length
    const { statusCode: status, headers, body } = await app.inject({ method: 'POST', url: '/oauth/revoke', ...request() })
    statuses.set(status, (statuses.get(status) ?? 0) + 1)
    if (![200, 400, 401, 413, 503].includes(status)) t.fail(`${status}: ${body}`)
    if (status !== 200 && revoked.length > before) t.fail(`a token was revoked, and the response is ${status}`)
    assertDeclared(responses, { status, headers, body }, 'POST')
    if (body.includes(secret) || body.includes('hostname')) t.fail(`the response has a secret: ${body}`)
    if (sent % 500 === 0) await new Promise(resolve => setImmediate(resolve))
  }
  t.comment(JSON.stringify([...statuses]))
  t.ok([200, 400, 401, 503].every(status => (statuses.get(status) ?? 0) > requests / 1000), 'it succeeded, refused and failed')
  t.ok(revoked.length > requests / 50)
  t.strictSame(revoked.filter(([token, clientId]) => !token.startsWith(`${secret}-${clientId}`)), [])
  const log = logs.join('')
  t.notMatch(log, new RegExp(secret), 'no token and no secret is in the log')
  t.notMatch(log, /unhandled|TypeError/)
})
