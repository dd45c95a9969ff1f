import type { FastifyInstance } from 'fastify'
import type { Ask } from '../plugin/ask.ts'
import { publishRefusals } from '../plugin/diagnostics.ts'
import { isolateFromHost } from '../plugin/host-isolation.ts'
import { noActivity } from '../plugin/no-activity.ts'
import type { SecurityRequirement } from '../plugin/openapi.ts'
import { limitRequests, type LogoutRateLimit } from '../plugin/rate-limit.ts'
import { resolveRoute } from '../plugin/route.ts'
import type { oauthErrorHandler } from './error.ts'

/** Where a route is, how often it may be called, and how it is documented. */
export interface LimitedRouteOptions {
  /** The path of the route, below the plugin's `prefix`. @default the standard path of the flow */
  readonly path?: string | undefined
  /** How many requests an address may send: `{}` for 300 a minute. @default no limit: other servers call, each from one address */
  readonly rateLimit?: LogoutRateLimit | undefined
  /** Security of the route in the host's OpenAPI document, for example `[{ partner: [] }]`. @default none is stated */
  readonly security?: readonly SecurityRequirement[] | undefined
}

/** The members of {@link LimitedRouteOptions}: beside the option `route` they would have no effect. */
export const limitedRouteMembers: ReadonlyArray<keyof LimitedRouteOptions> = ['path', 'rateLimit', 'security']

/** The plugin of such a route. */
export interface LimitedRoutePlugin {
  readonly caller: string
  readonly ask: Ask
  readonly route: Pick<ReturnType<typeof resolveRoute<LimitedRouteOptions>>, 'path' | 'rateLimit'>
  readonly answerFailure: ReturnType<typeof oauthErrorHandler>
}

/** Makes the encapsulated scope of such a route independent of the host, and limits its requests if there is a `rateLimit`. */
export async function prepareLimitedScope (scope: FastifyInstance, plugin: LimitedRoutePlugin): Promise<void> {
  const { caller, ask, route: { path, rateLimit }, answerFailure } = plugin
  noActivity(scope)
  isolateFromHost(scope)
  publishRefusals(scope, caller)
  scope.setErrorHandler(answerFailure)
  if (rateLimit === undefined) return
  await limitRequests(scope, rateLimit, { caller, ask, path, standard: { max: 300, window: 60_000 } })
}
