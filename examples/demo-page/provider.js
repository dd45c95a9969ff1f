// A small identity provider for the demo page, played by the same server: it signs messages with a key of its own, and has
// a page that ends a logout. A real provider is a server of its own, and asks users who they are: `npm run start:openid`.
import { decodeJwt, SignJWT } from 'jose'
import { generateKeyPairSync, randomUUID } from 'node:crypto'

/** What this server is called at the provider. */
export const clientId = 'demo'

/**
 * A request that a provider sends when a login is over. The page sends it in the provider's place, to show it.
 *
 * @typedef {{ method: string, url: string, headers?: Record<string, string>, body?: string }} Message
 * @typedef {{ subject: string, sid: string }} Login
 */

/** @param {string} publicUrl */
export function demoProvider (publicUrl) {
  const issuer = `${publicUrl}/demo/provider`
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })

  /** @param {string} typ what kind of token it is @param {import('jose').JWTPayload} claims */
  function sign (typ, claims) {
    return new SignJWT({ iss: issuer, jti: randomUUID(), ...claims })
      .setProtectedHeader({ alg: 'ES256', typ }).setIssuedAt().sign(privateKey)
  }

  const soon = () => Math.floor(Date.now() / 1000) + 120
  const subjectIdentifier = (/** @type {string} */ subject) => ({ format: 'iss_sub', iss: issuer, sub: subject })

  return {
    issuer,
    publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(),

    /** A login: what the provider calls it, when it was, and the ID Token that says so. @param {string} subject */
    async logIn (subject) {
      const sid = randomUUID()
      const idToken = await sign('JWT', { aud: clientId, sub: subject, sid, exp: soon() })
      return { subject, sid, idToken, issuedAt: Number(decodeJwt(idToken).iat) * 1000 }
    },

    /** @type {Record<string, (login: Login) => Message | Promise<Message>>} */
    messages: {
      // OpenID Connect Back-Channel Logout: from server to server.
      'back-channel': async ({ subject, sid }) => ({
        method: 'POST',
        url: '/backchannel-logout',
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: `logout_token=${await sign('logout+jwt', {
          aud: clientId, sub: subject, sid, exp: soon(), events: { 'http://schemas.openid.net/event/backchannel-logout': {} }
        })}`
      }),

      // OpenID Connect Front-Channel Logout: the URL of a frame on a page of the provider.
      'front-channel': ({ sid }) => ({ method: 'GET', url: `/frontchannel-logout?${new URLSearchParams({ iss: issuer, sid })}` }),

      // Shared Signals: an event of CAEP, as a security event token.
      'security-event': async ({ subject }) => ({
        method: 'POST',
        url: '/security-events',
        headers: { 'content-type': 'application/secevent+jwt' },
        body: await sign('secevent+jwt', {
          aud: publicUrl,
          sub_id: subjectIdentifier(subject),
          events: { 'https://schemas.openid.net/secevent/caep/event-type/session-revoked': { initiating_entity: 'admin' } }
        })
      }),

      // Global Token Revocation, which Okta calls Universal Logout: a command, and a token that says who sends it.
      'global-token-revocation': async ({ subject }) => ({
        method: 'POST',
        url: '/global-token-revocation',
        headers: {
          'content-type': 'application/json',
          authorization: `Bearer ${await sign('global-token-revocation+jwt', {
            sub: clientId, aud: `${publicUrl}/global-token-revocation`, exp: soon()
          })}`
        },
        body: JSON.stringify({ sub_id: subjectIdentifier(subject) })
      })
    },

    /** The page to which a browser comes to log out at the provider too. @param {string} returnUrl where it goes on to, checked and encoded */
    endSessionPage: returnUrl => `<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Demo provider</title>
  <link rel="icon" href="/demo/icon.svg">
  <link rel="stylesheet" href="/demo/page.css">
</head>
<body class="farewell">
  <main>
    <h1>Sign out of the demo provider?</h1>
    <p>The session at the server has ended already. A real provider ends its own session here, then sends the browser back.</p>
    <p><a class="button" href="${returnUrl}">Sign out</a></p>
  </main>
</body>
</html>`
  }
}
