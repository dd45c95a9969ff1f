// Logout tokens of an OpenID Provider, signed beforehand: to sign one takes longer than to receive it.
import { createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'

export const issuer = 'https://login.example'
export const clientId = 'shop'
export const kid = 'k1'

/** The session and the user at the provider that the n-th token names, as Keycloak and Auth0 do. */
export const sidAt = index => `provider-session-${index}`
export const providerUserAt = index => `provider-user-${index}`

/** Signs tokens with RS256, the algorithm that every provider has, and writes them with the public key into a file. */
export function writeLogoutTokens (file, count) {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const header = encoded({ alg: 'RS256', typ: 'logout+jwt', kid })
  const iat = Math.floor(Date.now() / 1000)
  const tokens = Array.from({ length: count }, (_, index) => {
    const message = `${header}.${encoded({
      iss: issuer,
aud: clientId,
iat,
exp: iat + 3600,
jti: `jti-${index}`,
sid: sidAt(index),
sub: providerUserAt(index),
      events: { 'http://schemas.openid.net/event/backchannel-logout': {} }
    })}`
    return `${message}.${sign('sha256', message, privateKey).toString('base64url')}`
  })
  writeFileSync(file, JSON.stringify({ publicKey: publicKey.export({ type: 'spki', format: 'pem' }), tokens }))
}

/** The tokens of a file, the provider's key set, and the request that a provider sends. */
export function readLogoutTokens (file) {
  const { publicKey, tokens } = JSON.parse(readFileSync(file, 'utf8'))
  return {
    jwks: { keys: [{ ...createPublicKey(publicKey).export({ format: 'jwk' }), kid, use: 'sig', alg: 'RS256' }] },
    placeOf: index => index % tokens.length,
    request: index => ({
      method: 'POST',
      path: '/backchannel-logout',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: `logout_token=${tokens[index % tokens.length]}`
    })
  }
}

function encoded (value) {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}
