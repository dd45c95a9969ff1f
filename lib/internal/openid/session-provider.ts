import type { FastifyRequest } from 'fastify'
import type { Awaitable } from '../../awaitable.ts'
import type { HostSession } from '../../session-source.ts'
import type { CallHost } from '../session-logout/calls.ts'
import { misconfigured } from '../session-logout/error.ts'
import { clientIdFor, endSessionRequest, type EndSessionParameters, type EndSessionRequest } from './end-session-request.ts'
import type { ResolvedProvider, SessionProvider } from './rp-provider.ts'

/** The option `provider` of `rpInitiatedLogout`. */
export type ProviderOfSession = (session: HostSession | undefined, request: FastifyRequest) => Awaitable<SessionProvider | undefined>

/** What the host says about a session, and the provider that it names. */
export interface ProviderLogin {
  readonly session: SessionProvider
  readonly provider: ResolvedProvider
}

/** How the host is asked, and for whom. */
export interface ProviderQuestion {
  readonly caller: string
  readonly providers: ReadonlyMap<unknown, ResolvedProvider>
  readonly call: CallHost
}

/**
 * Makes the function that asks the host for the provider of a session. It rejects with `LOGOUT_MISCONFIGURED` if the host names
 * another provider than those in the options.
 */
export function providerOfSession (provider: ProviderOfSession, { caller, providers, call }: ProviderQuestion) {
  return async (session: HostSession | undefined, request: FastifyRequest): Promise<ProviderLogin | undefined> => {
    const answer = await call('provider', () => provider(session, request))
    if (answer === undefined || answer === null) return undefined
    const known = providers.get(Object(answer).issuer)
    const texts = [answer.idToken, answer.logoutHint, answer.uiLocales]
    if (known === undefined || !texts.every(text => text === undefined || typeof text === 'string')) {
      throw misconfigured(caller, 'option "provider" must resolve { issuer, idToken?, logoutHint?, uiLocales? } with one of "issuers"')
    }
    return { session: answer, provider: known }
  }
}

/**
 * Resolves to where the provider logs users out, or to `undefined` if it cannot be reached: the session at the host is over
 * already, so that changes nothing.
 */
export async function endSessionEndpointOf (
  { issuer, endpoint }: ResolvedProvider, call: CallHost, { log }: FastifyRequest
): Promise<string | undefined> {
  try {
    return await call('discovery', endpoint)
  } catch (error) {
    const message = 'the user is logged out at the host only: the discovery document of the provider could not be read'
    log.warn({ err: error, issuer, event: 'logout.provider-unreachable' }, message)
    return undefined
  }
}

/** The longest ID Token that is sent as a hint, in characters. */
const longestHint = 16_384

/** Makes the request that logs a user out at the provider. */
export function providerLogout (
  endpoint: string, { session, provider }: ProviderLogin, way: Pick<EndSessionParameters, 'returnUrl' | 'state'>
): EndSessionRequest {
  const { idToken, logoutHint, uiLocales = provider.uiLocales } = session
  const idTokenHint = idToken !== undefined && idToken.length <= longestHint ? idToken : undefined
  return endSessionRequest(endpoint, {
    idTokenHint, logoutHint, clientId: clientIdFor(provider.clientIds, idTokenHint), uiLocales, ...way
  })
}
