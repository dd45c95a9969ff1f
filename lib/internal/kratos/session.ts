import { Type } from '@sinclair/typebox'
import type { Awaitable } from '../../awaitable.ts'
import { isLive, type Session } from '../../session-store.ts'

/** Returns the identity of a subject as Ory's clients see it, or `null` for none. */
export type KratosIdentity = (subject: string) => Awaitable<Readonly<Record<string, unknown>> | null>

/** The smallest identity that the types of Ory's clients allow. */
export const bareIdentity: KratosIdentity = subject => ({ id: subject, schema_id: 'default', schema_url: '', traits: {} })

const timestampSchema = Type.String({ pattern: '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z$', description: 'RFC 3339, in UTC' })

/** A session of Ory, for route schemas. */
export const kratosSessionSchema = Type.Object({
  id: Type.String({ description: 'The public id. It is not a credential' }),
  active: Type.Boolean(),
  expires_at: timestampSchema,
  authenticated_at: timestampSchema,
  issued_at: timestampSchema,
  identity: Type.Union([Type.Object({}), Type.Null()]),
  devices: Type.Array(Type.Object({
    id: Type.String(),
    ip_address: Type.Optional(Type.String()),
    user_agent: Type.Optional(Type.String()),
    location: Type.Optional(Type.String())
  }, { additionalProperties: false }))
}, { additionalProperties: false })

/** Returns the session as Ory's clients read it, with the members in Ory's order. The host's `data` is not part of it. */
export function kratosSession (session: Session, identity: Readonly<Record<string, unknown>> | null) {
  const { id, device } = session
  return {
    id,
    active: isLive(session, Date.now()),
    expires_at: timestamp(session.expiresAt),
    authenticated_at: timestamp(session.createdAt),
    issued_at: timestamp(session.createdAt),
    identity,
    devices: device === undefined
      ? []
      : [{ id, ip_address: device.ipAddress, user_agent: device.userAgent, location: device.location }]
  }
}

/** The last instant with a year of four digits. RFC 3339 cannot express later ones, such as "never". */
const latest = Date.UTC(9999, 11, 31, 23, 59, 59, 999)

function timestamp (milliseconds: number): string {
  return new Date(Math.min(milliseconds, latest)).toISOString()
}
