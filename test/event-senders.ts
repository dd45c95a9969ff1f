import { generateKeyPairSync, randomUUID, type KeyObject } from 'node:crypto'
import type { SignatureAlgorithm } from '../lib/internal/jose/signature-algorithm.ts'
import { signJwt } from './sign-jwt.ts'

/** A sender of commands and events, with a key of its own. */
export interface TestSender {
  readonly issuer: string
  readonly clientId: string
  readonly audience: string
  readonly privateKey: KeyObject
  readonly publicKey: string
}

export function testSender (tenant: string): TestSender {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  return {
    issuer: `https://${tenant}.okta.com`,
    clientId: `client-of-${tenant}`,
    audience: `https://app.example/${tenant}`,
    privateKey,
    publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString()
  }
}

export const acme = testSender('acme')
export const umbrella = testSender('umbrella')
export const endpointUrl = 'https://app.example/global-token-revocation'

export const seconds = () => Math.floor(Date.now() / 1000)

/** What is changed in a token. `undefined` leaves a claim out. */
export interface TokenChanges {
  readonly claims?: object
  readonly header?: object
  readonly key?: KeyObject | Buffer
  readonly algorithm?: SignatureAlgorithm
}

/** The token that Okta sends with Global Token Revocation, by its page. */
export function revocationToken (sender: TestSender,
  { claims, header, key = sender.privateKey, algorithm = 'RS256' }: TokenChanges = {}): string {
  const now = seconds()
  return signJwt(key, algorithm, {
    jti: randomUUID(), iss: sender.issuer, sub: sender.clientId, aud: endpointUrl, exp: now + 300, nbf: now - 300, iat: now, ...claims
  }, { typ: 'global-token-revocation+jwt', kid: 'k1', ...header })
}

export const sessionRevoked = 'https://schemas.openid.net/secevent/caep/event-type/session-revoked'

/** A security event token, as a transmitter of Shared Signals sends it. */
export function securityEventToken (sender: TestSender,
  { claims, header, key = sender.privateKey, algorithm = 'RS256' }: TokenChanges = {}): string {
  return signJwt(key, algorithm, {
    iss: sender.issuer,
    jti: randomUUID(),
    iat: seconds(),
    aud: sender.audience,
    sub_id: { format: 'iss_sub', iss: sender.issuer, sub: 'alice' },
    events: { [sessionRevoked]: { initiating_entity: 'policy' } },
    ...claims
  }, { typ: 'secevent+jwt', kid: 'k1', ...header })
}
