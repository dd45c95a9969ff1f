import type { FastifyInstance, FastifyRequest, onSendHookHandler } from 'fastify'
import { removeAgain } from '../http/cookie.ts'
import { crossSiteCheck, type CrossSiteOptions, type CrossSiteVerdict } from '../http/cross-site.ts'
import { returnToHost } from '../http/return-to.ts'
import { addVary } from '../http/vary.ts'
import { publishRefusals } from '../plugin/diagnostics.ts'
import { isolateFromHost } from '../plugin/host-isolation.ts'
import { noActivity } from '../plugin/no-activity.ts'
import type { SecurityRequirement } from '../plugin/openapi.ts'
import { assertGroup, assertGrouped } from '../plugin/options.ts'
import { resolveRoute } from '../plugin/route.ts'
import type { HostSession } from '../../session-source.ts'
import { readBodies } from './body.ts'
import { isLogoutError, logoutError } from './error.ts'
import { logoutSteps, type LogoutActionsOptions } from './steps.ts'

/** Where a browser goes after a logout. */
export interface ReturnUrlOptions {
  /** Where a browser goes if it names no other place: a path or an absolute URL. @default '/' */
  readonly default?: string | undefined
  /**
   * Where `return_to` may point besides the host itself: absolute URLs, each with everything below its path; `*.` in front
   * of a host for its subdomains.
   * @default []
   */
  readonly allowed?: readonly string[] | undefined
}

/** Where the route is, and how it is documented. */
export interface RouteOptions {
  /** The path of the route, below the plugin's `prefix`. @default '/logout' */
  readonly path?: string | undefined
  /** Security of the route in the host's OpenAPI document, such as `[{ sessionCookie: [] }]`. @default none is stated */
  readonly security?: readonly SecurityRequirement[] | undefined
}

/** What `sessionLogout` and `rpInitiatedLogout` have in common. `sessions` is required. */
export interface LogoutRouteOptions<S extends HostSession = HostSession> extends LogoutActionsOptions<S> {
  /** Where a browser goes after the logout. */
  readonly returnUrls?: ReturnUrlOptions | undefined
  /** Where the route is, and how it is documented. */
  readonly route?: RouteOptions | undefined
}

/** The path of a logout route. */
export const standardPath = '/logout'

/**
 * Makes what a logout route needs of its options.
 *
 * @throws {TypeError} for an option that is missing or wrong
 */
export function logoutRoute<S extends HostSession> (options: LogoutRouteOptions<S>, caller: string) {
  const steps = logoutSteps(options, caller)
  assertGrouped(options, caller, { route: ['path', 'security'], returnUrls: ['default', 'allowed'] })
  const { publicUrl, returnUrls = {} } = options
  const { path, security } = resolveRoute(options.route, standardPath, caller)
  assertGroup(returnUrls, caller, 'returnUrls', "{ default: '/goodbye' }")
  const { default: standard = '/', allowed = [] } = returnUrls
  const base = publicUrl === undefined ? undefined : new URL(publicUrl)
  const judge = returnToHost({ publicUrl: base, standard, allowed, caller })

  return {
    steps,
    path,
    security,
    /** Makes the cross-site check for these options, which are those of the option `csrf`. */
    crossSiteCheck: (csrf: CrossSiteOptions): ((request: FastifyRequest) => CrossSiteVerdict) => {
      return crossSiteCheck(csrf, { caller, option: 'csrf', publicUrl: base })
    },
    /** Returns where the browser goes, for the `return_to` of a request. Throws `LOGOUT_RETURN_TO` if that is not allowed. */
    targetOf: (returnTo: unknown): string => {
      const target = returnTo === undefined || typeof returnTo === 'string' ? judge(returnTo) : undefined
      if (target === undefined) throw logoutError('LOGOUT_RETURN_TO')
      return target
    }
  }
}

/**
 * Makes an encapsulated scope one of logout routes: independent of the host, with our own parsers of bodies, and with
 * responses that are not cached.
 */
export function prepareLogoutScope (scope: FastifyInstance, caller: string): void {
  noActivity(scope)
  isolateFromHost(scope)
  publishRefusals(scope, caller)
  readBodies(scope)
  const finish: onSendHookHandler = (_request, reply, _payload, done) => {
    reply.header('cache-control', 'no-store')
    addVary(reply, 'Accept')
    removeAgain(reply)
    done()
  }
  // Hooks that the host adds to itself later run after those of this scope; those of a route run last.
  scope.addHook('onRoute', route => { route.onSend = [route.onSend ?? [], finish].flat() })
}

/** Logs an error that is not the caller's fault. */
export function logLogoutFailure ({ log }: FastifyRequest, error: unknown): void {
  if (!isLogoutError(error)) return
  if (error.code === 'LOGOUT_MISCONFIGURED') {
    log.error({ err: error, event: 'logout.misconfigured' }, 'the logout is not set up correctly')
  } else if (error.statusCode >= 500) {
    log.error({ err: error, event: 'logout.outage' }, 'a request to a logout route could not be answered')
  }
}
