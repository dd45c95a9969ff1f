import type { FastifyRequest } from 'fastify'
import type { Awaitable } from '../../awaitable.ts'
import { bearerToken } from '../http/bearer-token.ts'
import type { Ask } from '../plugin/ask.ts'
import { assertGroup, assertOption } from '../plugin/options.ts'
import {
  resolveTokenTimes, revocationTokenVerifier, type AdmittedSender, type RevocationSender, type TokenRefusal
} from './revocation-token.ts'
import type { UsedTokenStore } from './used-tokens.ts'
import type { EventSender } from './users.ts'

/** A sender that the host has authenticated itself. */
export interface AuthenticatedSender extends EventSender {
  /** As in `senders`. @default [] */
  readonly tolerate?: ReadonlyArray<'subject'> | undefined
}

/** Who may send commands: senders with tokens of their own. `senders`, `endpointUrl` and `revocations` are required. */
export interface SenderTokenOptions {
  /** Who may send commands, and by which keys. */
  readonly senders: readonly RevocationSender[]
  /** The URL of this route exactly as it was given to the senders: it is the `aud` of their tokens. */
  readonly endpointUrl: string
  /** Remembers which tokens were used, until they have expired. Every node must use the same store, and no replica of it. */
  readonly revocations: UsedTokenStore
  /** How far the clocks of sender and host may differ, in milliseconds. @default 60000 */
  readonly clockTolerance?: number | undefined
  /** Tokens that live longer are refused. In milliseconds. @default 900000 */
  readonly maxTokenLifetime?: number | undefined
}

/** The option `authenticate` of `globalTokenRevocation`: senders with tokens of their own, or a function of the host. */
export type AuthenticateSender = SenderTokenOptions | ((request: FastifyRequest) => Awaitable<AuthenticatedSender | undefined>)

/** The members of {@link SenderTokenOptions}: beside the option `authenticate` they would have no effect. */
export const senderTokenMembers: ReadonlyArray<keyof SenderTokenOptions> = [
  'senders', 'endpointUrl', 'revocations', 'clockTolerance', 'maxTokenLifetime'
]

/** Why a request is refused: it has no token, or not a good one. */
export type Unauthenticated = TokenRefusal | { readonly problem: 'missing', readonly issuer?: undefined }

/** Finds the sender of a request, or says why it is refused. Rejects when that is unknown. */
export type FindSender = (request: FastifyRequest) => Promise<AdmittedSender | Unauthenticated>

/** Who authenticates, and how long it may take, in milliseconds. */
export interface AuthenticationContext {
  readonly caller: string
  readonly ask: Ask
  readonly timeout: number
}

/**
 * Returns how senders are found, and, if they have tokens of their own, where used ones are remembered.
 *
 * @throws {TypeError} for an option that is missing or wrong
 */
export function resolveAuthentication (
  authenticate: AuthenticateSender, context: AuthenticationContext
): { readonly findSender: FindSender, readonly revocations?: UsedTokenStore } {
  const { caller, ask } = context
  if (typeof authenticate !== 'function') return byToken(authenticate, context)
  return {
    findSender: async request => {
      const sender = checkedSender(await ask('authenticate', () => authenticate(request)), caller)
      if (sender === undefined) return { problem: 'missing' }
      const { tolerate = [], ...others } = sender
      return { sender: others, tolerate }
    }
  }
}

function byToken (options: SenderTokenOptions, { caller, ask, timeout }: AuthenticationContext) {
  assertOption(options !== undefined, caller, 'authenticate',
    'is missing: pass { senders, endpointUrl, revocations }, or a function request => sender')
  assertGroup(options, caller, 'authenticate', '{ senders, endpointUrl, revocations }')
  const { senders = [], endpointUrl = '', revocations } = options
  const times = resolveTokenTimes(options, caller)
  const isUrl = typeof endpointUrl === 'string' && /^https?:\/\/[^/?#]+[^?#]*$/.test(endpointUrl) && URL.canParse(endpointUrl)
  assertOption(isUrl, caller, 'authenticate.endpointUrl', 'must be the absolute URL that the senders were given, without a query')
  assertOption(typeof revocations?.check === 'function' && typeof revocations.revoke === 'function', caller,
    'authenticate.revocations', 'is missing: pass a revocation store, for example redisRevocationStore(redis)')
  const verify = revocationTokenVerifier({ senders, endpointUrl, ...times }, caller, timeout)
  const findSender: FindSender = async ({ headers }) => {
    const token = bearerToken(headers.authorization)
    return token === undefined ? { problem: 'missing' } : ask('keys', () => verify(token))
  }
  return { findSender, revocations }
}

/** Only a sender with an issuer is let in: a host in JavaScript may return `true`, a string, or a list. */
function checkedSender (returned: unknown, caller: string): AuthenticatedSender | undefined {
  if (returned === undefined || returned === null || returned === false) return undefined
  const { issuer } = returned as Partial<AuthenticatedSender>
  if (typeof issuer === 'string' && issuer !== '') return returned as AuthenticatedSender
  throw new TypeError(`${caller}: option "authenticate" must return a sender, { issuer, tenant? }, or undefined`)
}
