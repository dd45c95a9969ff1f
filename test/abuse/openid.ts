import Fastify from 'fastify'
import { randomInt } from 'node:crypto'
import { Writable } from 'node:stream'
import t from 'tap'
import { backChannelLogout } from '../../lib/flows/openid-back-channel.ts'
import { memoryProviderSessionIndex } from '../../lib/provider-session-indexes/memory.ts'
import { memorySessionStore } from '../../lib/session-stores/memory.ts'
import { badLogoutTokens, logoutToken } from '../openid/bad-logout-tokens.ts'
import { clientId, path, testIssuer } from '../openid-host.ts'
import { assertDeclared } from '../wire.ts'

// 100,000 forms, tokens and headers, most of them a little wrong: only documented statuses, no crash, and no word of a token
// in the log. `OPENID_REQUESTS` sends more or fewer.
const requests = Number(process.env['OPENID_REQUESTS'] ?? 100_000)

const pick = <Value>(values: readonly Value[]): Value => values[randomInt(values.length)] as Value
const often = (percent: number) => randomInt(100) < percent

/** A word that is in every token, and that nothing else has. */
const secret = 'w0rd-of-a-token'

const junk = ['', '.', '%', '%00', '\u0000', '&', '=', '+', '\ud800', 'ä', 'x'.repeat(20_000), '..', '%zz', 'null', '{', '"', '\r\n']
function mutated (text: string): string {
  const start = randomInt(text.length + 1)
  return text.slice(0, start) + pick(junk) + text.slice(start + randomInt(4))
}

t.test(`${requests} requests to the route of a provider`, { timeout: 1_200_000 }, async t => {
  const issuer = await testIssuer(t)
  const lines: string[] = []
  const stream = new Writable({ write (chunk, _encoding, done) { lines.push(String(chunk)); done() } })
  const app = Fastify({ logger: { level: 'info', stream } })
  t.teardown(() => app.close())
  let responses: Parameters<typeof assertDeclared>[0] = {}
  app.addHook('onRoute', ({ schema }) => { responses = (schema as { response: typeof responses }).response })
  let calls = 0
  const failsSometimes = <Value>(value: Value): Value => {
    if (++calls % 50 === 0) throw new Error('the database is down')
    return value
  }
  const [index, sessions] = [memoryProviderSessionIndex(), memorySessionStore()]
  await app.register(backChannelLogout, {
    issuers: [
      { issuer: issuer.url, clientId, jwksUri: `${issuer.url}/keys`, tolerate: ['unexpiring'] },
      { issuer: `${issuer.url}/encrypted`, clientId, jwksUri: `${issuer.url}/keys`, decrypt: jwe => failsSometimes(jwe.slice(0, 30)) }
    ],
    index: { logOut: logout => failsSometimes(index.logOut(logout)) },
    sessions,
    sessionLifetime: 3_600_000
  })

  const change = { sub: secret, jti: secret, extra: secret }
  const good = Array.from({ length: 20 }, (_, place) => logoutToken(issuer.keyring, { ...change, sid: `${secret} ${place}` }))
  const bad = badLogoutTokens.flatMap(({ make }) => make(issuer.keyring))
  const tokenOf = () => {
    const token = pick(often(50) ? good : bad)
    const parts = token.split('.')
    const shuffled = [pick(good), pick(bad), token].flatMap(one => one.split('.')).sort(() => Math.random() - 0.5)
    if (often(20)) return shuffled.slice(0, randomInt(7)).join('.')
    if (often(10)) return [...parts, ...parts].slice(0, 5).join('.')
    return often(40) ? mutated(token) : token
  }
  const bodyOf = () => {
    const name = pick(['logout_token', 'logout_token', 'logout_token', 'logout_token', 'Logout_token', 'x', ''])
    const token = tokenOf()
    const body = `${name}=${often(80) && !/\p{Surrogate}/u.test(token) ? encodeURIComponent(token) : token}`
    if (often(10)) return `${body}&${body}`
    return often(15) ? mutated(body) : body
  }
  const form = 'application/x-www-form-urlencoded'
  const otherTypes = ['application/json', 'text/plain', 'rubbish', '', 'multipart/form-data']
  const types = [form, form, form, form, form, form, `${form}; charset=utf-8`, `${form};;`, ...otherTypes]
  const statuses = new Map<number, number>()
  for (let sent = 0; sent < requests; sent++) {
    const encoding = often(3) && { 'content-encoding': pick(['gzip', 'identity', 'x']) }
    const headers: Record<string, string> = { 'content-type': pick(types), ...encoding }
    const { statusCode: status, headers: answered, body } = await app.inject({ method: 'POST', url: path, headers, payload: bodyOf() })
    statuses.set(status, (statuses.get(status) ?? 0) + 1)
    if (![200, 400, 413, 503].includes(status)) t.fail(`${status}: ${body}`)
    assertDeclared(responses, { status, headers: answered, body }, 'POST')
    if (body.includes(secret)) t.fail(`the answer has a word of the token: ${body}`)
    if (sent % 500 === 0) await new Promise(resolve => setImmediate(resolve))
  }
  t.comment(JSON.stringify([...statuses]))
  t.ok([200, 400, 503].every(status => (statuses.get(status) ?? 0) > requests / 1000), 'it succeeded, refused and failed')
  t.ok(lines.length > requests)
  const words = [secret, '08a5019c', ...new Set([...good, ...bad].flatMap(token => token.split('.')).filter(part => part.length > 20))]
  const log = lines.join('')
  t.strictSame(words.filter(word => log.includes(word)), [], 'no word of a token is in the log')
  t.notMatch(log, /unhandled|TypeError/)
})
