import type { Delivery } from '../../delivery-queue.ts'
import { MisconfiguredClientError, type LogoutClient } from './clients.ts'
import { logoutTokenMessage, type MessageSigner } from './logout-token.ts'
import { securityEventMessage } from './security-event.ts'
import type { OutgoingMessage } from './send.ts'
import { webhookMessage } from './webhook.ts'

/** The message for a client. `undefined` if the client has no URL. Rejects with a `MisconfiguredClientError` if there can be none. */
export async function messageFor (
  client: LogoutClient, delivery: Delivery, signer: MessageSigner | undefined
): Promise<OutgoingMessage | undefined> {
  const message = await messageOf(client, delivery, signer)
  return message && { ...message, headers: { ...message.headers, 'user-agent': 'fastify-logout' } }
}

async function messageOf (
  client: LogoutClient, delivery: Delivery, signer: MessageSigner | undefined
): Promise<OutgoingMessage | undefined> {
  if (client.kind === 'webhook') return client.url ? webhookMessage(client, delivery) : undefined
  if (client.kind === 'security-events') return client.endpoint ? securityEventMessage(client, delivery, needed(signer)) : undefined
  if (client.kind !== undefined && client.kind !== 'back-channel') throw new MisconfiguredClientError('the kind of the client is unknown')
  const { uri } = client
  return uri ? logoutTokenMessage({ ...client, uri }, delivery, needed(signer)) : undefined
}

function needed (signer: MessageSigner | undefined): MessageSigner {
  if (signer === undefined) throw new MisconfiguredClientError('the client needs signed tokens: pass the options "issuer" and "sign"')
  return signer
}
