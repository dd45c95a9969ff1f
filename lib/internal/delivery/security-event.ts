import type { Delivery } from '../../delivery-queue.ts'
import { tokenDigest } from '../../token-digest.ts'
import type { SecurityEventsClient } from './clients.ts'
import type { MessageSigner } from './logout-token.ts'
import type { OutgoingMessage } from './send.ts'

/**
 * A CAEP `session-revoked` as a security event token. It is the same in each attempt, down to its `jti`: receivers acknowledge
 * one that they have already.
 *
 * @see https://openid.net/specs/openid-caep-1_0-final.html#name-session-revoked
 */
export async function securityEventMessage (
  client: SecurityEventsClient, delivery: Delivery, { issuer, sign }: MessageSigner
): Promise<OutgoingMessage> {
  const { subject, tenant, sid, at } = delivery
  const seconds = Math.floor(at / 1000)
  const token = await sign({
    iss: issuer,
    aud: client.audience,
    iat: seconds,
    jti: tokenDigest(`jti ${delivery.id}`),
    txn: tokenDigest(JSON.stringify([tenant, subject, sid, at])),
    sub_id: {
      format: 'complex',
      ...subject !== undefined && { user: client.subject({ subject, tenant }) },
      ...sid !== undefined && { session: { format: 'opaque', id: sid } }
    },
    events: {
      'https://schemas.openid.net/secevent/caep/event-type/session-revoked': {
        event_timestamp: seconds,
        initiating_entity: client.initiatingEntity ?? 'user',
        reason_admin: { en: sid === undefined ? 'All sessions of the user were logged out.' : 'The session was logged out.' }
      }
    }
  }, { typ: 'secevent+jwt' })
  return {
    url: client.endpoint,
    headers: {
      'content-type': 'application/secevent+jwt',
      accept: 'application/json',
      ...client.authorization !== undefined && { authorization: client.authorization }
    },
    body: token
  }
}

/** The `err` of a receiver's refusal, if it is a code. Such a refusal is final. */
export function refusalCode (body: string): string | undefined {
  try {
    const { err } = Object(JSON.parse(body))
    return typeof err === 'string' && /^[\w.-]{1,64}$/.test(err) ? err : undefined
  } catch {
    return undefined
  }
}
