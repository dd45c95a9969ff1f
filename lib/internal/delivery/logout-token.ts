import { randomBytes } from 'node:crypto'
import type { Awaitable } from '../../awaitable.ts'
import type { Delivery } from '../../delivery-queue.ts'
import type { BackChannelClient } from './clients.ts'
import type { OutgoingMessage } from './send.ts'

/** Signs a JWT for an issuer. The header has `typ`; `alg` and `kid` are added. */
export interface MessageSigner {
  readonly issuer: string
  readonly sign: (claims: Readonly<Record<string, unknown>>, header: Readonly<Record<string, string>>) => Awaitable<string>
}

const lifetime = 120

/**
 * A logout token for one client, in its form. Each one is new: the same `jti` would be a replay for some receivers. `toe` says
 * when the logout happened.
 *
 * @see https://openid.net/specs/openid-connect-backchannel-1_0.html#LogoutToken
 */
export async function logoutTokenMessage (
  { uri }: BackChannelClient & { readonly uri: string }, { clientId, subject, sid, at }: Delivery, { issuer, sign }: MessageSigner
): Promise<OutgoingMessage> {
  const now = Math.floor(Date.now() / 1000)
  const token = await sign({
    iss: issuer,
    aud: clientId,
    iat: now,
    exp: now + lifetime,
    jti: randomBytes(16).toString('base64url'),
    toe: Math.min(Math.floor(at / 1000), now),
    events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
    ...subject !== undefined && { sub: subject },
    ...sid !== undefined && { sid }
  }, { typ: 'logout+jwt' })
  return {
    url: uri,
    headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
    body: new URLSearchParams({ logout_token: token }).toString()
  }
}
