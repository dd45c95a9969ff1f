import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest, HookHandlerDoneFunction, RouteOptions } from 'fastify'
import fp from 'fastify-plugin'
import { aboutRequest, noteArrival, publish } from '../internal/plugin/diagnostics.ts'
import { isLogoutScope } from '../internal/plugin/no-activity.ts'
import { assertFunctions, assertOption } from '../internal/plugin/options.ts'
import {
  logOutage, resolveCheckOptions, revokedError, usableCredential, type RevocationCheckOptions, type WhenUnavailable
} from '../internal/revocation/check.ts'
import type { Credential, Verdict } from '../revocation-store.ts'

/** Why a request is refused: its credential is revoked, or the store cannot tell. */
export interface RevocationRefusal {
  readonly status: 401 | 503
  readonly reason: 'revoked' | 'unknown'
}

/** What {@link revocationGuard} asks of the host. `revocations` and `credential` are required. */
export interface RevocationGuardOptions extends RevocationCheckOptions {
  /**
   * Returns the credential that the host's authentication verified, or `undefined` for an anonymous request, which passes.
   * Not async. A credential without any id is an error of status 500.
   */
  readonly credential: (request: FastifyRequest) => Credential | undefined | null
  /** The body of a refusal. @default the host's error handler responds, with the status and the headers of the refusal */
  readonly body?: ((refusal: RevocationRefusal, request: FastifyRequest) => unknown) | undefined
  /**
   * The hook in which to look. It must come after the host's authentication: hooks of the instance and of the route
   * itself do.
   *
   * @default 'preHandler'
   */
  readonly hook?: 'onRequest' | 'preValidation' | 'preHandler' | undefined
  /** `Retry-After` of a 503, in seconds. @default 5 */
  readonly retryAfter?: number | undefined
}

/**
 * Refuses revoked credentials on the host's own routes: those of the scope where it is registered, from then on. One
 * lookup for each request that has a credential.
 *
 * A route chooses with `config: { revocation: ... }` what to do while the store cannot answer: `'refuse'` (503 with
 * `Retry-After`) or `'allow'`. With `false` the route is not guarded, and nothing is added to it. Logout routes are not
 * guarded unless they choose so, because they respond to revoked tokens themselves. A not-found handler is not a route.
 *
 * @throws {TypeError} while registering, for an option or a route's `config.revocation` that is missing or wrong
 * @see https://www.rfc-editor.org/rfc/rfc6750#section-3.1 for the challenge of a 401
 *
 * @example
 * ```ts
 * import fastify from 'fastify'
 * import { credentialOf, revocationGuard, type Claims } from 'fastify-logout'
 * import { memoryRevocationStore } from 'fastify-logout/revocation-stores/memory'
 *
 * const app = fastify()
 * app.decorateRequest('claims', null) // your authentication fills it
 * await app.register(revocationGuard, {
 *   revocations: memoryRevocationStore(),
 *   credential (request) {
 *     const claims = request.getDecorator<Claims | null>('claims')
 *     return claims === null ? undefined : credentialOf(claims)
 *   }
 * })
 * app.get('/me', async () => 'hello')
 * ```
 */
export const revocationGuard: FastifyPluginAsync<RevocationGuardOptions> = fp(guard, {
  name: 'fastify-logout/revocation', fastify: '5.x'
})

async function guard (fastify: FastifyInstance, options: RevocationGuardOptions): Promise<void> {
  const settings = resolveOptions(options)
  const hooks = { refuse: revocationHook(settings, 'refuse'), allow: revocationHook(settings, 'allow') }

  fastify.addHook('onRoute', function (route) {
    const policy = policyOf(route) ?? (isLogoutScope(this) ? false : settings.whenUnavailable)
    if (policy === false) return
    const own: unknown[] = [route[settings.hook] ?? []].flat()
    Object.assign(route, { [settings.hook]: [...own, hooks[policy]] })
  })
}

type Settings = ReturnType<typeof resolveOptions>

/** The policy in a route's own `config`. */
function policyOf (route: RouteOptions): WhenUnavailable | false | undefined {
  const config: Readonly<Record<PropertyKey, unknown>> = { ...route.config }
  const { revocation } = config
  if (revocation === 'refuse' || revocation === 'allow' || revocation === false) return revocation
  assertOption(revocation === undefined, caller, 'config.revocation', `of the route ${route.url} must be "refuse", "allow" or false`)
  return undefined
}

function revocationHook (settings: Settings, whenUnavailable: WhenUnavailable) {
  const { check, credential } = settings

  // Returns no promise if the store returns none.
  return (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void => {
    noteArrival(request)
    const found = usableCredential(credential(request), caller)
    if (found === undefined) return done()

    const decide = (verdict: Verdict) => {
      publishVerdict(reply, verdict)
      if (verdict === 'live') done()
      else refuse(settings, { reply, done, error: revokedError() }, { status: 401, reason: 'revoked' })
    }
    const onUnavailable = (cause: unknown) => {
      publishVerdict(reply, 'unknown')
      const error = logOutage(request, cause, whenUnavailable)
      if (whenUnavailable === 'allow') done()
      else refuse(settings, { reply, done, error }, { status: 503, reason: 'unknown' })
    }
    let verdict
    try {
      verdict = check(found)
    } catch (error) {
      return onUnavailable(error)
    }
    if (typeof verdict === 'string') decide(verdict)
    else verdict.then(decide, onUnavailable).then(undefined, done)
  }
}

function publishVerdict (reply: FastifyReply, verdict: Verdict | 'unknown'): void {
  publish('fastify-logout:guard', () => ({ ...aboutRequest(caller, reply), verdict }))
}

interface Refused {
  readonly reply: FastifyReply
  readonly done: HookHandlerDoneFunction
  readonly error: Error
}

function refuse ({ body, retryAfter }: Settings, { reply, done, error }: Refused, refusal: RevocationRefusal): void {
  reply.code(refusal.status).header('cache-control', 'no-store')
  if (refusal.status === 401) reply.header('www-authenticate', 'Bearer error="invalid_token"')
  else reply.header('retry-after', retryAfter)
  if (body === undefined) return done(error)
  reply.send(body(refusal, reply.request))
}

const caller = 'revocationGuard'

function resolveOptions (options: RevocationGuardOptions) {
  const shared = resolveCheckOptions(options, caller)
  const { credential, body, hook = 'preHandler', retryAfter = 5 } = options
  assertOption(typeof credential === 'function', caller, 'credential',
    'is missing: pass request => credentialOf(request.user), or undefined for an anonymous request')
  assertFunctions(options, caller, ['body'])
  assertOption(['onRequest', 'preValidation', 'preHandler'].includes(hook), caller, 'hook',
    'must be "onRequest", "preValidation" or "preHandler"')
  assertOption(Number.isInteger(retryAfter) && retryAfter >= 0, caller, 'retryAfter', 'must be a whole number of seconds')
  return { ...shared, credential, body, hook, retryAfter }
}
