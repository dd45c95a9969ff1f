import Fastify, { type InjectOptions } from 'fastify'
import { Writable } from 'node:stream'
import type { Test } from 'tap'
import { backChannelLogout } from '../../lib/flows/openid-back-channel.ts'
import { frontChannelLogout } from '../../lib/flows/openid-front-channel.ts'
import { rpInitiatedLogout } from '../../lib/flows/openid-rp-initiated.ts'
import { memoryProviderSessionIndex } from '../../lib/provider-session-indexes/memory.ts'
import { sessionStoreSource } from '../../lib/session-sources/session-store.ts'
import { memorySessionStore } from '../../lib/session-stores/memory.ts'
import { clientId, hour, path, testIssuer, type TestIssuer } from '../openid-host.ts'
import { assertDeclared } from '../wire.ts'
import { badLogoutTokens, logoutToken } from './bad-logout-tokens.ts'

/** A word that is in every token, sid, cookie and hint, and in nothing else. */
const secret = 'w0rd-of-a-token'
const junk = ['', '.', '%', '%00', '\u0000', '&', '=', '+', '\ud800', 'ä', 'x'.repeat(20_000), '..', '%zz', 'null', '{', '"', '\r\n', ';']
const form = 'application/x-www-form-urlencoded'
const otherTypes = ['application/json', 'text/plain', 'rubbish', '', 'multipart/form-data']

/** Numbers that look random. The same seed gives the same ones. */
function dice (seed: number) {
  let state = seed % 2_147_483_646 + 1
  const below = (limit: number) => {
    state = (state * 48_271) % 2_147_483_647
    return Math.floor(state / 2_147_483_647 * limit)
  }
  const pick = <Value>(values: readonly Value[]): Value => values[below(values.length)] as Value
  return {
    below,
    pick,
    often: (percent: number) => below(100) < percent,
    mutated (text: string): string {
      const start = below(text.length + 1)
      return text.slice(0, start) + pick(junk) + text.slice(start + below(4))
    }
  }
}

type Dice = ReturnType<typeof dice>

/** What is sent to a route, and which statuses it may have. */
interface Kind {
  readonly name: string
  readonly route: string
  readonly statuses: readonly number[]
  readonly request: () => InjectOptions
}

/** Query or form, most of the time well-formed: a name may be another one, a parameter twice, a piece of it replaced. */
function fieldsBy ({ often, pick, mutated }: Dice) {
  return (fields: ReadonlyArray<readonly [name: string, value: string]>): string => {
    const pairs = fields.filter(() => often(95)).map(([name, value]) => {
      const encoded = often(85) && !/\p{Surrogate}/u.test(value) ? encodeURIComponent(value) : value
      return `${often(96) ? name : pick([name.toUpperCase(), 'x', ''])}=${encoded}`
    })
    const text = [...pairs, ...(often(6) ? pairs : [])].join('&')
    return often(12) ? mutated(text) : text
  }
}

function backChannelKind (chance: Dice, { keyring }: TestIssuer): Kind & { readonly words: readonly string[] } {
  const { often, pick, below, mutated } = chance
  const fields = fieldsBy(chance)
  const change = { sub: secret, jti: secret, extra: secret }
  const good = Array.from({ length: 20 }, (_, place) => logoutToken(keyring, { ...change, sid: `${secret} ${place}` }))
  const bad = badLogoutTokens.flatMap(({ make }) => make(keyring))
  const tokenOf = () => {
    const token = pick(often(50) ? good : bad)
    const parts = token.split('.')
    const others = [pick(good), pick(bad), token].flatMap(one => one.split('.'))
    if (often(20)) return Array.from({ length: below(7) }, () => pick(others)).join('.')
    if (often(10)) return [...parts, ...parts].slice(0, 5).join('.')
    return often(40) ? mutated(token) : token
  }
  const types = [form, form, form, form, form, form, `${form}; charset=utf-8`, `${form};;`, ...otherTypes]
  return {
    name: 'back-channel',
    route: `POST ${path}`,
    statuses: [200, 400, 413, 503],
    request: () => ({
      method: 'POST',
      url: path,
      headers: { 'content-type': pick(types), ...(often(3) && { 'content-encoding': pick(['gzip', 'identity', 'x']) }) },
      payload: fields([['logout_token', tokenOf()]])
    }),
    words: ['08a5019c', ...new Set([...good, ...bad].flatMap(token => token.split('.')).filter(part => part.length > 20))]
  }
}

function frontChannelKind (chance: Dice, { url: issuer }: TestIssuer): Kind {
  const { often, pick, below } = chance
  const fields = fieldsBy(chance)
  return {
    name: 'front-channel',
    route: 'GET /frontchannel-logout',
    statuses: [200, 400, 403, 503],
    request: () => {
      const sid = often(90) ? `${secret} ${below(20)}` : `${secret}${pick(junk)}`
      const headers = {
        ...(often(80) && { 'sec-fetch-dest': pick(['iframe', 'iframe', 'iframe', 'frame', 'img', 'document', '']) }),
        ...(often(3) && { 'sec-purpose': 'prefetch' }),
        ...(often(50) && { cookie: `sid=${secret}${below(20)}${often(10) ? pick(['%', ';', '"', '=']) : ''}` })
      }
      const query = fields([['iss', often(90) ? issuer : pick([`${issuer}/`, 'x', '', ...junk])], ['sid', sid]])
      return { method: 'GET', url: `/frontchannel-logout?${query}`, headers }
    }
  }
}

function rpInitiatedKind (chance: Dice, logIn: () => string): Kind {
  const { often, pick } = chance
  const fields = fieldsBy(chance)
  const types = [form, form, form, form, form, `${form}; charset=utf-8`, 'application/json', 'application/json', ...otherTypes]
  const sites = [...Array(12).fill('same-origin'), 'same-site', 'cross-site', 'none', '']
  return {
    name: 'RP-initiated',
    route: 'POST /logout',
    statuses: [200, 204, 303, 400, 403, 413, 415, 503],
    request: () => {
      const returnTo = pick(['/', '/there', 'https://shop.example/x', 'https://elsewhere.example/', '//elsewhere.example', pick(junk)])
      const type = pick(types)
      const isJson = type === 'application/json' && often(80)
      return {
        method: 'POST',
        url: '/logout',
        headers: {
          ...(often(90) && { 'sec-fetch-site': pick(sites) }),
          ...(often(20) && { origin: pick(['https://shop.example', 'https://elsewhere.example', 'null', 'x']) }),
          accept: pick(['text/html', 'application/json', '*/*', 'application/json;q=0, text/html', ';', '']),
          ...(often(80) && { cookie: `sid=${often(60) ? logIn() : secret}${often(5) ? pick(['%', ';', '"', '=']) : ''}` }),
          ...(often(3) && { purpose: 'prefetch' }),
          ...(often(5) && { 'hx-request': 'true' }),
          'content-type': type
        },
        payload: isJson ? JSON.stringify({ return_to: pick([returnTo, 5, null, []]) }) : fields([['return_to', returnTo]])
      }
    }
  }
}

function returnKind (chance: Dice): Kind {
  const { often, pick } = chance
  const fields = fieldsBy(chance)
  return {
    name: 'the return from the provider',
    route: 'GET /logout/return',
    statuses: [303],
    request: () => {
      const state = often(90) ? 'a'.repeat(22) : pick(junk)
      const target = often(80) ? encodeURIComponent('/there') : pick(['%', '"', 'x', '%2F%2Felsewhere.example', `%${secret}`])
      const headers = { ...(often(80) && { cookie: `__Host-logout-state=${state.replace(/[^\x21-\x7e]/g, '')}.${target}` }) }
      return { method: 'GET', url: `/logout/return?${fields([['state', often(90) ? state : pick(junk)]])}`, headers }
    }
  }
}

/** A host with the three routes of a relying party. One of 20 calls of its functions fails. */
async function hostOf (t: Test, issuer: TestIssuer) {
  const lines: string[] = []
  const stream = new Writable({ write (chunk, _encoding, done) { lines.push(String(chunk)); done() } })
  const app = Fastify({ logger: { level: 'info', stream } })
  t.teardown(() => app.close())
  const responses = new Map<string, Parameters<typeof assertDeclared>[0]>()
  app.addHook('onRoute', ({ method, url, schema }) => {
    responses.set(`${String(method)} ${url}`, (schema as { response: Parameters<typeof assertDeclared>[0] }).response)
  })
  let calls = 0
  const failsSometimes = <Value>(value: Value): Value => {
    if (++calls % 20 === 0) throw new Error('the database is down')
    return value
  }
  const [index, sessions] = [memoryProviderSessionIndex(), memorySessionStore({ maxSessions: 1_000_000 })]
  const failing = { logOut: (logout: Parameters<typeof index.logOut>[0]) => failsSometimes(index.logOut(logout)) }
  await app.register(backChannelLogout, {
    issuers: [
      { issuer: issuer.url, clientId, jwksUri: `${issuer.url}/keys`, tolerate: ['unexpiring'] },
      { issuer: `${issuer.url}/encrypted`, clientId, jwksUri: `${issuer.url}/keys`, decrypt: jwe => failsSometimes(jwe.slice(0, 30)) }
    ],
    index: failing,
    sessions,
    sessionLifetime: hour
  })
  await app.register(frontChannelLogout, {
    issuers: [{ issuer: issuer.url }],
    index: failing,
    sessions,
    sessionLifetime: hour,
    cookie: { name: 'sid', sessions },
    route: { rateLimit: { max: 1e9 } }
  })
  await app.register(rpInitiatedLogout, {
    sessions: sessionStoreSource(sessions, { cookie: { name: 'sid' } }),
    issuers: [{ issuer: issuer.url, clientId, endSessionEndpoint: `${issuer.url}/logout` }],
    provider: session => failsSometimes({ issuer: issuer.url, ...(session !== undefined && { idToken: `${secret}.${secret}.${secret}` }) }),
    publicUrl: 'https://shop.example',
    returnUrls: { default: '/' }
  })
  let logins = 0
  /** Creates a session: its token. */
  const logIn = () => {
    const [id, now] = [`session ${++logins}`, Date.now()]
    sessions.create(`${secret}${logins}`, { id, subject: `user ${logins}`, createdAt: now, expiresAt: now + hour, keepUntil: now + hour })
    return `${secret}${logins}`
  }
  return { app, lines, responses, logIn }
}

/**
 * Sends forms, tokens, queries and headers, most of them a little wrong, to each route of a relying party: only documented
 * statuses, no crash, and no word of a token, a `sid` or a cookie in the log. `FUZZ_SEED` repeats a run.
 */
export async function survivesOddRequests (t: Test, requests: number): Promise<void> {
  const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 1_000_000_007)
  const chance = dice(seed)
  const issuer = await testIssuer(t)
  const { app, lines, responses, logIn } = await hostOf(t, issuer)
  const backChannel = backChannelKind(chance, issuer)
  for (const kind of [backChannel, frontChannelKind(chance, issuer), rpInitiatedKind(chance, logIn), returnKind(chance)]) {
    const statuses = new Map<number, number>()
    for (let sent = 0; sent < requests; sent++) {
      const request = kind.request()
      const { statusCode: status, headers, body } = await app.inject(request)
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
      if (!kind.statuses.includes(status)) t.fail(`FUZZ_SEED=${seed} ${status}: ${body} for ${JSON.stringify(request)}`)
      assertDeclared(responses.get(kind.route) ?? {}, { status, headers, body }, String(request.method))
      if (kind.route !== 'POST /logout' && body.includes(secret)) t.fail(`the answer has a word of the token: ${body}`)
      if (sent % 500 === 0) await new Promise(resolve => setImmediate(resolve))
    }
    t.comment(`FUZZ_SEED=${seed} ${kind.name}: ${JSON.stringify([...statuses])}`)
    const least = requests / 1000
    const expected = kind.statuses.filter(status => status < 400 || [400, 403, 503].includes(status))
    t.strictSame(expected.filter(status => (statuses.get(status) ?? 0) <= least), [], `${kind.name}: it succeeded, refused and failed`)
  }
  t.ok(lines.length > requests)
  const log = lines.join('')
  t.strictSame([secret, ...backChannel.words].filter(word => log.includes(word)), [], 'no word of a token is in the log')
  t.notMatch(log, /unhandled|TypeError/)
}
