import { generateKeyPairSync, randomBytes, type KeyObject } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'

import type { SignatureAlgorithm } from '../../lib/internal/jose/signature-algorithm.ts'
import type { Claims } from '../../lib/token-verifier.ts'
import { signJwt } from '../sign-jwt.ts'

/** A request as the issuer saw it. */
export interface Seen {
  readonly path: string
  readonly authorization: string | undefined
  readonly form: URLSearchParams
}

type Answer = (response: ServerResponse, seen: Seen) => unknown

/** An issuer on loopback that does what a test wants. By default it is honest. */
export interface Issuer {
  readonly url: string
  /** The published keys. A test may put in whatever it likes. */
  readonly jwks: Array<Record<string, unknown>>
  readonly seen: Seen[]
  /** Responses that replace the honest one, by path. */
  readonly odd: Map<string, Answer>
  /** What introspection says about opaque tokens. */
  readonly introspected: Map<string, object>
  count (path: string): number
  /** Publishes a new key. */
  addKey (kid: string, algorithm?: SignatureAlgorithm): KeyObject
  removeKey (kid: string): void
  sign (kid: string, claims: Claims, header?: object, algorithm?: SignatureAlgorithm): string
  /** Registers an opaque token. */
  issueOpaque (claims: object): string
  close (): Promise<void>
}

export const jwksPath = '/keys'
export const discoveryPath = '/.well-known/openid-configuration'
export const introspectionPath = '/introspect'

export async function startIssuer (): Promise<Issuer> {
  const privateKeys = new Map<string, KeyObject>()
  const server = createServer((request, response) => {
    handle(request, response).catch(error => response.destroy(error))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  const issuer: Issuer = {
    url,
    jwks: [],
    seen: [],
    odd: new Map(),
    introspected: new Map(),
    count: path => issuer.seen.filter(seen => seen.path === path).length,
    addKey (kid, algorithm = 'ES256') {
      const { publicKey, privateKey } = pairFor(algorithm)
      privateKeys.set(kid, privateKey)
      issuer.jwks.push({ ...publicKey.export({ format: 'jwk' }), kid, use: 'sig', alg: algorithm })
      return publicKey
    },
    removeKey (kid) {
      const index = issuer.jwks.findIndex(key => key['kid'] === kid)
      issuer.jwks.splice(index, 1)
    },
    sign (kid, claims, header = {}, algorithm = 'ES256') {
      const key = privateKeys.get(kid)
      if (key === undefined) throw new Error(`no key ${kid}`)
      return signJwt(key, algorithm, claims, { kid, ...header })
    },
    issueOpaque (claims) {
      const token = randomBytes(24).toString('base64url')
      issuer.introspected.set(token, claims)
      return token
    },
    async close () {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    }
  }

  async function handle (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = String(request.url)
    const seen = { path, authorization: request.headers.authorization, form: new URLSearchParams(await text(request)) }
    issuer.seen.push(seen)
    const odd = issuer.odd.get(path)
    if (odd !== undefined) {
      odd(response, seen)
      return
    }
    const token = seen.form.get('token')
    const answers: Record<string, unknown> = {
      [discoveryPath]: { issuer: url, jwks_uri: `${url}${jwksPath}` },
      [jwksPath]: { keys: issuer.jwks },
      [introspectionPath]: issuer.introspected.get(token ?? '') ?? { active: false }
    }
    const body = answers[path]
    response.writeHead(body === undefined ? 404 : 200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  }

  return issuer
}

function pairFor (algorithm: SignatureAlgorithm): { publicKey: KeyObject, privateKey: KeyObject } {
  if (algorithm === 'ES256') return generateKeyPairSync('ec', { namedCurve: 'P-256' })
  if (algorithm === 'EdDSA') return generateKeyPairSync('ed25519')
  return generateKeyPairSync('rsa', { modulusLength: 2048 })
}
