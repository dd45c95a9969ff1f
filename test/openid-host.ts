import Fastify, { type FastifyServerOptions } from 'fastify'
import { generateKeyPairSync } from 'node:crypto'
import { Writable } from 'node:stream'
import type { Test } from 'tap'
import { backChannelLogout, type BackChannelLogoutOptions } from '../lib/flows/openid-back-channel.ts'
import type { LogoutTokenIssuer } from '../lib/internal/openid/logout-issuer.ts'
import type { LogoutEvent } from '../lib/logout-event.ts'
import type { ProviderLogin } from '../lib/provider-session-index.ts'
import { memoryProviderSessionIndex } from '../lib/provider-session-indexes/memory.ts'
import type { HostSession } from '../lib/session-source.ts'
import { memorySessionStore } from '../lib/session-stores/memory.ts'
import { logoutToken, type Keyring } from './openid/bad-logout-tokens.ts'
import { startIssuer, type Issuer } from './servers/issuer.ts'
import { wire, type Answer } from './wire.ts'

export const hour = 3_600_000
export const clientId = 'shop'
export const path = '/backchannel-logout'

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const { privateKey: foreignKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const publicPem = publicKey.export({ type: 'spki', format: 'pem' }).toString()
const published = { ...publicKey.export({ format: 'jwk' }), kid: 'k1', use: 'sig', alg: 'RS256' }

/** An issuer on loopback that publishes the key of the keyring. */
export interface TestIssuer extends Issuer {
  readonly keyring: Keyring
}

export async function testIssuer (t: Test): Promise<TestIssuer> {
  const issuer = await startIssuer()
  t.teardown(() => issuer.close())
  issuer.jwks.push(published)
  return { ...issuer, keyring: { issuer: issuer.url, clientId, kid: 'k1', privateKey, publicPem, foreignKey } }
}

/** Sessions and an index in memory, and what was told. */
export function openidHost () {
  const index = memoryProviderSessionIndex()
  const sessions = memorySessionStore()
  const events: Array<LogoutEvent<HostSession>> = []
  const now = Date.now()

  return {
    index,
    sessions,
    events,
    /** The ids of the sessions that `onLogout` was told of. */
    told: () => events.map(event => event.scope === 'session' && event.session.id),
    statusOf: (id: string) => sessions.find(`token of ${id}`)?.status,
    /** Logs in as a host should: what `bind` says of it. */
    logIn (id: string, login: Partial<ProviderLogin> & Pick<ProviderLogin, 'issuer'>) {
      sessions.create(`token of ${id}`, { id, subject: 'host-alice', createdAt: now, expiresAt: now + hour, keepUntil: now + hour })
      const given = { subject: 'alice', issuedAt: now - 1000, ...login }
      return index.bind(given, { sessionId: id, subject: 'host-alice' }, now + hour)
    }
  }
}

export type OpenidHost = ReturnType<typeof openidHost>

/** The 200 of the route. */
export const done: Answer = { status: 200, headers: { 'cache-control': 'no-store', 'content-length': '0' }, body: '' }

/** An error of the route. */
export function failure (status: number, error: string, description?: string, headers: object = {}): Answer {
  const body = JSON.stringify({ error, error_description: description })
  return {
    status,
    headers: {
      'cache-control': 'no-store',
      'content-type': 'application/json; charset=utf-8',
      'content-length': `${Buffer.byteLength(body)}`,
      ...headers
    },
    body
  }
}

export const refused = (fault: string): Answer => failure(400, 'invalid_request', `logout token: ${fault}`)
export const unavailable: Answer = failure(503, 'temporarily_unavailable', undefined, { 'retry-after': '5' })

/** Options of the route, members of its only issuer, and options of the server. */
export interface ServeOptions extends Partial<BackChannelLogoutOptions> {
  readonly issuer?: Partial<LogoutTokenIssuer>
  readonly server?: FastifyServerOptions
}

/** A server with the route, the lines of its log, and how to send a logout token. */
export async function serve (
  t: Test, { keyring }: Pick<TestIssuer, 'keyring'>, host: OpenidHost,
  { issuer = {}, server = {}, ...options }: ServeOptions = {}
) {
  const lines: Array<Record<string, unknown>> = []
  const stream = new Writable({ write (chunk, _encoding, done) { lines.push(JSON.parse(String(chunk))); done() } })
  const app = Fastify({ logger: { level: 'warn', stream }, ...server })
  t.teardown(() => app.close())
  const { inject, send } = wire(app)
  await app.register(backChannelLogout, {
    issuers: [{ issuer: keyring.issuer, clientId, jwksUri: `${keyring.issuer}/keys`, ...issuer }],
    index: host.index,
    sessions: host.sessions,
    sessionLifetime: hour,
    onLogout: event => { host.events.push(event) },
    ...options
  })
  const post = async (payload: string | Buffer, headers: Record<string, string> = {}) => inject({
    method: 'POST', url: path, payload, headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers }
  })
  const sendToken = async (token: string) => post(`logout_token=${encodeURIComponent(token)}`)
  const logOut = async (change: Readonly<Record<string, unknown>> = {}, header: Readonly<Record<string, unknown>> = {}) => {
    return sendToken(logoutToken(keyring, change, header))
  }
  return { app, inject, send, post, sendToken, logOut, lines }
}
