import type { KeyObject } from 'node:crypto'
import type { SignatureAlgorithm } from '../../lib/internal/jose/signature-algorithm.ts'
import type { LogoutTokenFault } from '../../lib/internal/openid/logout-token.ts'
import { signJwt } from '../sign-jwt.ts'

export const logoutEvent = 'http://schemas.openid.net/event/backchannel-logout'

/** What signs tokens: the issuer's published key, and one that it has not published. */
export interface Keyring {
  readonly issuer: string
  readonly clientId: string
  readonly kid: string
  readonly privateKey: KeyObject
  readonly publicPem: string
  readonly foreignKey: KeyObject
}

type Change = Readonly<Record<string, unknown>>

/** The claims of a logout token that every receiver must accept. A member that is `undefined` is left out. */
export function goodClaims ({ issuer, clientId }: Pick<Keyring, 'issuer' | 'clientId'>, change: Change = {}): Record<string, unknown> {
  const now = Math.floor(Date.now() / 1000)
  return {
    iss: issuer,
    aud: clientId,
    iat: now,
    exp: now + 120,
    jti: 'a1b2c3',
    sid: '08a5019c',
    sub: 'alice',
    events: { [logoutEvent]: {} },
    ...change
  }
}

/** A logout token: the good one, but for these claims, this header, this algorithm or this key. */
export function logoutToken (keyring: Keyring, change: Change = {}, header: Change = {}, algorithm: SignatureAlgorithm = 'RS256'): string {
  return signJwt(keyring.privateKey, algorithm, goodClaims(keyring, change), { typ: 'logout+jwt', kid: keyring.kid, ...header })
}

/** A token that every receiver should refuse. */
export interface BadToken {
  readonly name: string
  readonly make: (keyring: Keyring) => string
  /** The word that we refuse it with. */
  readonly fault: LogoutTokenFault
}

const year = 31_536_000

const claims = (name: string, fault: LogoutTokenFault, change: (now: number) => Change): BadToken => ({
  name, fault, make: keyring => logoutToken(keyring, change(Math.floor(Date.now() / 1000)))
})
const header = (name: string, fault: LogoutTokenFault, change: Change): BadToken => ({
  name, fault, make: keyring => logoutToken(keyring, {}, change)
})

/** The tokens that receivers are compared by. */
export const badLogoutTokens: readonly BadToken[] = [
  {
    name: 'alg none, without a signature',
    fault: 'algorithm',
    make: keyring => logoutToken(keyring, {}, { alg: 'none' }).replace(/[^.]*$/, '')
  },
  {
    name: 'HS256 with the public key as the secret',
    fault: 'algorithm',
    make: keyring => signJwt(Buffer.from(keyring.publicPem), 'HS256', goodClaims(keyring), { typ: 'logout+jwt', kid: keyring.kid })
  },
  { name: 'an algorithm that is not pinned', fault: 'algorithm', make: keyring => logoutToken(keyring, {}, {}, 'RS384') },
  {
    name: 'signed by a key that the issuer has not published',
    fault: 'signature',
    make: keyring => logoutToken({ ...keyring, privateKey: keyring.foreignKey })
  },
  {
    name: 'an unknown key id',
    fault: 'signature',
    make: keyring => logoutToken({ ...keyring, kid: 'unknown', privateKey: keyring.foreignKey })
  },
  {
    name: 'another payload under the signature',
    fault: 'signature',
    make: keyring => {
      const [head, , signature] = logoutToken(keyring).split('.')
      return [head, Buffer.from(JSON.stringify(goodClaims(keyring, { sub: 'bob' }))).toString('base64url'), signature].join('.')
    }
  },
  header('a critical extension', 'not a signed token', { crit: ['x'], x: 1 }),
  header('the type of an access token', 'type', { typ: 'at+jwt' }),
  header('the type of another security event', 'type', { typ: 'secevent+jwt' }),
  claims('another issuer', 'unknown issuer', () => ({ iss: 'https://mallory.example' })),
  { name: 'a slash behind the issuer', fault: 'unknown issuer', make: keyring => logoutToken(keyring, { iss: `${keyring.issuer}/` }) },
  claims('another audience', 'audience', () => ({ aud: 'mallory' })),
  claims('no audience', 'audience', () => ({ aud: undefined })),
  claims('no expiry', 'expiry', () => ({ exp: undefined })),
  claims('expired an hour ago', 'expired', now => ({ exp: now - 3600 })),
  claims('no time of issue', 'issued', () => ({ iat: undefined })),
  claims('ten years old', 'issued', now => ({ iat: now - 10 * year })),
  claims('issued in an hour', 'issued', now => ({ iat: now + 3600, exp: now + 7200 })),
  claims('not valid before an hour has passed', 'expired', now => ({ nbf: now + 3600 })),
  claims('neither sub nor sid', 'subject', () => ({ sub: undefined, sid: undefined })),
  claims('an empty sid', 'subject', () => ({ sid: '' })),
  claims('a number as the sid', 'subject', () => ({ sub: undefined, sid: 7 })),
  claims('no events', 'events', () => ({ events: undefined })),
  claims('events as a list', 'events', () => ({ events: [logoutEvent] })),
  claims('a text as the value of the event', 'events', () => ({ events: { [logoutEvent]: 'yes' } })),
  claims('a nonce, as an ID Token has it', 'nonce', () => ({ nonce: 'n-0S6_WzA2Mj' })),
  claims('no jti', 'jti', () => ({ jti: undefined }))
]
