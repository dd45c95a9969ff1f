/** What happens on an event: everything of the user ends, or nothing. */
export type EventAction = 'log-out' | 'ignore'

const base = 'https://schemas.openid.net/secevent/'

export const sessionRevoked = `${base}caep/event-type/session-revoked`
export const credentialChange = `${base}caep/event-type/credential-change`
export const streamUpdated = `${base}ssf/event-type/stream-updated`
export const verification = `${base}ssf/event-type/verification`
/** Of the draft that Google follows. */
export const draftVerification = `${base}risc/event-type/verification`

/** The events that log users out if the host says nothing else. All others are ignored. */
const loggingOut: readonly string[] = [
  sessionRevoked,
  `${base}risc/event-type/sessions-revoked`,
  `${base}risc/event-type/account-disabled`,
  `${base}risc/event-type/account-purged`,
  `${base}oauth/event-type/tokens-revoked`
]

/** What happens on an event of this type by default. */
export function standardAction (type: string): EventAction {
  return loggingOut.includes(type) ? 'log-out' : 'ignore'
}

/** Whether an event only shows that a stream works. */
export function isVerification (type: string): boolean {
  return type === verification || type === draftVerification
}

/** Whether an event is about the stream and not about a user. */
export function isAboutStream (type: string): boolean {
  return isVerification(type) || type === streamUpdated
}

/** @see https://openid.net/specs/openid-caep-1_0.html#name-credential-change */
export const changeTypes: readonly unknown[] = ['create', 'revoke', 'update', 'delete']
