import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest, HookHandlerDoneFunction, RouteOptions } from 'fastify'
import fp from 'fastify-plugin'
import { aboutRequest, noteArrival, publish } from '../internal/plugin/diagnostics.ts'
import { isLogoutScope } from '../internal/plugin/no-activity.ts'
import { assertFunctions, assertOption, duration } from '../internal/plugin/options.ts'
import { checkWithin, revokedError, unknownError, type WhenUnavailable } from '../internal/revocation/check.ts'
import type { Credential, RevocationStore, Verdict } from '../revocation-store.ts'

/** Why a request is refused: its credential is revoked, or nobody can tell. */
export interface RevocationRefusal {
  readonly status: 401 | 503
  readonly reason: 'revoked' | 'unknown'
}

/** What {@link revocationGuard} asks of the host. `revocations` and `credential` are required. */
export interface RevocationGuardOptions {
  /** Where the marks live: a revocation store, or a replica of one. */
  readonly revocations: Pick<RevocationStore, 'check'>
  /** The facts of the credential that the host's authentication verified; `undefined` for an anonymous request, which passes. */
  readonly credential: (request: FastifyRequest) => Credential | undefined | null
  /** What to do when the store cannot answer: answer 503, or let the request through. A route's `config.revocation` goes first. @default 'refuse' */
  readonly whenUnavailable?: WhenUnavailable | undefined
  /** The body of a refusal. @default the host's error handler answers, with the status and the headers of the refusal */
  readonly body?: ((refusal: RevocationRefusal, request: FastifyRequest) => unknown) | undefined
  /** The hook in which to look. It must come after the host's authentication: hooks of the instance and of the route itself do. @default 'preHandler' */
  readonly hook?: 'onRequest' | 'preValidation' | 'preHandler' | undefined
  /** `Retry-After` of a 503, in seconds. @default 5 */
  readonly retryAfter?: number | undefined
  /** How long the store may take, in milliseconds. @default 1000 */
  readonly timeout?: number | undefined
}

/**
 * Refuses revoked credentials on the host's own routes: those of the scope where it is registered, from then on. One
 * lookup for each request that has a credential.
 *
 * A route says by `config: { revocation: ... }` what is to happen there while the store cannot answer: `'refuse'` (503
 * with `Retry-After`) or `'allow'`. With `false` the route is not guarded, and nothing is added to it. Logout routes are
 * not guarded unless they say so: a logout with a revoked token is theirs to answer. A not-found handler is no route.
 *
 * @throws {TypeError} while registering, for an option or a route's `config.revocation` that is missing or wrong
 * @see https://www.rfc-editor.org/rfc/rfc6750#section-3.1 for the challenge of a 401
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

/** What the route itself says. */
function policyOf (route: RouteOptions): WhenUnavailable | false | undefined {
  const config: Readonly<Record<PropertyKey, unknown>> = { ...route.config }
  const { revocation } = config
  if (revocation === 'refuse' || revocation === 'allow' || revocation === false) return revocation
  assertOption(revocation === undefined, 'revocationGuard', 'config.revocation', `of the route ${route.url} must be "refuse", "allow" or false`)
  return undefined
}

function revocationHook (settings: Settings, whenUnavailable: WhenUnavailable) {
  const { check, credential } = settings

  // Answers without a promise where the store does.
  return (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void => {
    noteArrival(request)
    const decide = (verdict: Verdict) => {
      publish('fastify-logout:guard', () => ({ ...aboutRequest(plugin, reply), verdict }))
      if (verdict === 'live') done()
      else refuse(settings, request, reply, { status: 401, reason: 'revoked' }, revokedError(), done)
    }
    const onUnavailable = (cause: unknown) => {
      publish('fastify-logout:guard', () => ({ ...aboutRequest(plugin, reply), verdict: 'unknown' }))
      const error = unknownError(cause)
      request.log.error({ err: error, event: 'revocation.outage', whenUnavailable }, 'it could not be told whether a credential is revoked')
      if (whenUnavailable === 'allow') done()
      else refuse(settings, request, reply, { status: 503, reason: 'unknown' }, error, done)
    }

    const facts = credential(request)
    if (facts === undefined || facts === null) return done()
    let verdict
    try {
      verdict = check(facts)
    } catch (error) {
      return onUnavailable(error)
    }
    if (typeof verdict === 'string') decide(verdict)
    else verdict.then(decide, onUnavailable).then(undefined, done)
  }
}

function refuse ({ body, retryAfter }: Settings, request: FastifyRequest, reply: FastifyReply, refusal: RevocationRefusal, error: Error, done: HookHandlerDoneFunction): void {
  reply.code(refusal.status).header('cache-control', 'no-store')
  if (refusal.status === 401) reply.header('www-authenticate', 'Bearer error="invalid_token"')
  else reply.header('retry-after', retryAfter)
  if (body === undefined) return done(error)
  reply.send(body(refusal, request))
}

const plugin = 'revocationGuard'

function resolveOptions (options: RevocationGuardOptions) {
  const { revocations, credential, whenUnavailable = 'refuse', hook = 'preHandler', retryAfter = 5 } = options
  assertOption(typeof revocations?.check === 'function', plugin, 'revocations', 'is missing: pass a revocation store, redisRevocationStore(redis) for instance')
  assertOption(typeof credential === 'function', plugin, 'credential', 'is missing: pass request => credentialOf(request.user), or undefined for an anonymous request')
  assertFunctions(options, plugin, ['body'])
  assertOption(['refuse', 'allow'].includes(whenUnavailable), plugin, 'whenUnavailable', 'must be "refuse" or "allow"')
  assertOption(['onRequest', 'preValidation', 'preHandler'].includes(hook), plugin, 'hook', 'must be "onRequest", "preValidation" or "preHandler"')
  assertOption(Number.isInteger(retryAfter) && retryAfter >= 0, plugin, 'retryAfter', 'must be a whole number of seconds')
  return { check: checkWithin(revocations, duration(options.timeout, 1000, plugin, 'timeout'), plugin), credential, whenUnavailable, hook, retryAfter, body: options.body }
}
