import { createPrivateKey, createPublicKey, type JsonWebKey } from 'node:crypto'
import { fileURLToPath } from 'node:url'

import { startPrivateServer, type PrivateServer } from './private-process.ts'

export const signedResource = 'https://signed.example'
export const opaqueResource = 'https://opaque.example'
export const clientSecret = 'a secret: of 100% & more than 32 bytes'

const keyClientJwk: JsonWebKey = {
  kty: 'EC',
  crv: 'P-256',
  x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
  y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
  d: 'jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI'
}

/** The key of the client `api-key`, from RFC 7515, appendix A.3. */
export const keyClientKey = createPrivateKey({ key: keyClientJwk, format: 'jwk' })
export const keyClientPublicJwk = { ...createPublicKey(keyClientKey).export({ format: 'jwk' }), kid: 'mine', use: 'sig', alg: 'ES256' }

export interface OpenidProvider extends PrivateServer {
  readonly issuer: string
  readonly introspectionEndpoint: string
  /** How often it was asked for a path since it was started. */
  count (path: string): Promise<number>
  /** New keys, and the old ones withdrawn. */
  rotate (): Promise<void>
  /** Delays every response from now on. In milliseconds. */
  slow (delay: number): Promise<void>
  /** An access token of a user, signed or opaque as the resource wants it. `ttl` is in seconds. */
  userToken (resource: string, sub?: string, ttl?: number): Promise<string>
  /** An access token that an application gets for itself. */
  applicationToken (resource: string): Promise<string>
  /** Revokes an opaque token. */
  revoke (token: string): Promise<void>
  /** The public keys that are published now. */
  keys (): Promise<JsonWebKey[]>
}

export const jwksPath = '/jwks'
export const discoveryPath = '/.well-known/openid-configuration'

/** Starts a provider on a free port of loopback. It ends with this process. */
export async function startOpenidProvider (): Promise<OpenidProvider & { remove (): Promise<void> }> {
  const server = await startPrivateServer({
    name: 'openid-provider',
    command: process.execPath,
    args: ({ port }) => [
      '--import', new URL('../strip-types.js', import.meta.url).href,
      fileURLToPath(new URL('openid-provider-process.ts', import.meta.url)), String(port)
    ],
    url: port => `http://127.0.0.1:${port}`,
    ping: async (port) => { await fetch(`http://127.0.0.1:${port}/orders`, { method: 'POST', body: '{}' }) },
    stopSignal: 'SIGTERM'
  })

  async function order (what: object): Promise<{ readonly seen: Readonly<Record<string, number>>, readonly token?: string }> {
    const response = await fetch(`${server.url}/orders`, { method: 'POST', body: JSON.stringify(what) })
    return JSON.parse(await response.text())
  }

  async function post (path: string, form: Record<string, string>): Promise<{ access_token?: string }> {
    const credentials = Buffer.from(['app', clientSecret].map(encodeURIComponent).join(':')).toString('base64')
    const response = await fetch(`${server.url}${path}`, {
      method: 'POST', headers: { authorization: `Basic ${credentials}` }, body: new URLSearchParams(form)
    })
    const body = await response.text()
    if (response.status !== 200) throw new Error(`${path} ${response.status} ${body}`)
    return body === '' ? {} : JSON.parse(body)
  }

  return {
    ...server,
    issuer: server.url,
    introspectionEndpoint: `${server.url}/token/introspection`,
    count: async path => (await order({})).seen[path] ?? 0,
    rotate: async () => { await order({ rotate: true }) },
    slow: async (delay) => { await order({ delay }) },
    userToken: async (resource, sub = 'alice', ttl = 300) => String((await order({ user: { sub, resource, ttl } })).token),
    applicationToken: async (resource) => {
      const form = { grant_type: 'client_credentials', scope: 'read', resource }
      return String((await post('/token', form)).access_token)
    },
    revoke: async (token) => { await post('/token/revocation', { token }) },
    keys: async () => (await (await fetch(`${server.url}${jwksPath}`)).json() as { keys: JsonWebKey[] }).keys
  }
}
