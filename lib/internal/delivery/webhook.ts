import { createHmac } from 'node:crypto'
import type { Delivery } from '../../delivery-queue.ts'
import { tokenDigest } from '../../token-digest.ts'
import { MisconfiguredClientError, type WebhookClient } from './clients.ts'
import type { OutgoingMessage } from './send.ts'

/**
 * A webhook about a logout: `session.logged_out` of one session, `user.logged_out` of all sessions of a user. Its id is the same
 * in each attempt, its time and its signatures are new.
 *
 * @see https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
export function webhookMessage ({ url, secrets }: WebhookClient, delivery: Delivery): OutgoingMessage {
  const { subject, tenant, sid, at } = delivery
  const body = JSON.stringify({
    type: sid === undefined ? 'user.logged_out' : 'session.logged_out',
    timestamp: new Date(at).toISOString(),
    data: { subject, tenant, sid }
  })
  const id = `msg_${tokenDigest(delivery.id)}`
  const timestamp = String(Math.floor(Date.now() / 1000))
  const signatures = keysOf(secrets).map(key => `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`)
  return {
    url,
    headers: {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': timestamp,
      'webhook-signature': signatures.join(' ')
    },
    body
  }
}

const fewestBytes = 24
const mostBytes = 64

function keysOf (secrets: unknown): readonly Buffer[] {
  const keys = Array.isArray(secrets) ? secrets.map(keyOf) : []
  if (keys.length === 0) throw new MisconfiguredClientError('the client has no secrets')
  return keys
}

function keyOf (secret: unknown): Buffer {
  const key = Buffer.from(String(secret).replace(/^whsec_/, ''), 'base64')
  if (key.length < fewestBytes || key.length > mostBytes) {
    throw new MisconfiguredClientError(`a secret of the client does not have ${fewestBytes} to ${mostBytes} bytes`)
  }
  return key
}
