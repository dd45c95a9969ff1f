import type { SubjectIdentifier } from '../security-events/subject-identifier.ts'

/** An OpenID Connect client that gets logout tokens. */
export interface BackChannelClient {
  /** `back-channel`: it gets logout tokens. @default 'back-channel' */
  readonly kind?: 'back-channel' | undefined
  /** Its `backchannel_logout_uri`. Without one, the client gets nothing. */
  readonly uri?: string | undefined
  /** Its `backchannel_logout_session_required`: a logout without `sid` cannot be sent to it. @default false */
  readonly sessionRequired?: boolean | undefined
}

/** The user of a delivery. */
export interface DeliveredUser {
  readonly subject: string
  readonly tenant?: string | undefined
}

/** A receiver of security events: it gets CAEP's `session-revoked`. */
export interface SecurityEventsClient {
  /** `security-events`: it gets security events. */
  readonly kind: 'security-events'
  /** Where it receives events by push (RFC 8935). */
  readonly endpoint: string
  /** The `aud` of its events. */
  readonly audience: string
  /** The whole `Authorization` header, such as `Bearer <token>`. */
  readonly authorization?: string | undefined
  /** Names the user as the receiver knows them. */
  readonly subject: (user: DeliveredUser) => SubjectIdentifier
  /** Who ended the session. @default 'user' */
  readonly initiatingEntity?: 'admin' | 'user' | 'policy' | 'system' | undefined
}

/** Any application: it gets JSON that is signed as a Standard Webhook. */
export interface WebhookClient {
  /** `webhook`: it gets webhooks. */
  readonly kind: 'webhook'
  /** Where it receives webhooks. */
  readonly url: string
  /** Secrets as `whsec_` and base64, of 24 to 64 bytes. The message is signed with each, so that they can be rotated. */
  readonly secrets: readonly string[]
}

/** An application that is notified of logouts. */
export type LogoutClient = BackChannelClient | SecurityEventsClient | WebhookClient

/** The client cannot be sent anything as it is configured. */
export class MisconfiguredClientError extends Error {
  override readonly name = 'MisconfiguredClientError'
}
