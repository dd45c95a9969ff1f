import { Type } from '@sinclair/typebox'
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Awaitable } from '../awaitable.ts'
import { oauthErrorHandler, oauthFailures, sendEmpty, sendOAuthError, type OAuthError } from '../internal/oauth/error.ts'
import { limitedRouteMembers, prepareLimitedScope, type LimitedRouteOptions } from '../internal/oauth/limited-route.ts'
import { allWithin } from '../internal/plugin/all-within.ts'
import { askWithin, type Ask } from '../internal/plugin/ask.ts'
import { logoutNotice, sessionSummary } from '../internal/plugin/logout-notice.ts'
import { freshSchema, operationId, type SecurityRequirement } from '../internal/plugin/openapi.ts'
import { assertFunctions, assertGrouped, assertOption, duration } from '../internal/plugin/options.ts'
import { resolveRoute } from '../internal/plugin/route.ts'
import { resolveAuthentication, senderTokenMembers, type AuthenticateSender } from '../internal/security-events/command-sender.ts'
import { collectEdges } from '../internal/security-events/edges.ts'
import { endUsers, type SubjectSessionsStore, type UserEffects } from '../internal/security-events/end-users.ts'
import { bodyLimit, bodyProblemOf, readJsonCommands, type JsonCommand } from '../internal/security-events/json-command.ts'
import type { AdmittedSender } from '../internal/security-events/revocation-token.ts'
import { isProblem, readUserSubject, type AliasesSubject, type UserSubject } from '../internal/security-events/subject-identifier.ts'
import { usedTokens } from '../internal/security-events/used-tokens.ts'
import { resolveUsers, type AffectedUser, type EventSender, type ResolveSubject } from '../internal/security-events/users.ts'
import type { LogoutEvent } from '../logout-event.ts'

const plugin = 'globalTokenRevocation'

// Options

/** A command to end everything of a user. */
export interface RevocationCommand {
  readonly subject: UserSubject | AliasesSubject
  readonly sender: EventSender
  /** Epoch milliseconds. What was issued until this instant ends. */
  readonly at: number
}

/** What a command ends. `revokeRefreshTokens`, and one of `revoke`, `alsoEnd` and `sessions`, are required. */
export interface CommandEffectsOptions extends UserEffects<RevocationCommand, FastifyRequest> {
  /** Ends every refresh token of these users. `false` if the host issues none. It must succeed, and is repeated with the command. */
  readonly revokeRefreshTokens: ((users: readonly AffectedUser[], command: RevocationCommand,
    request: FastifyRequest) => Awaitable<unknown>) | false
  /** Ends every session of these users. @default no sessions are ended */
  readonly sessions?: SubjectSessionsStore | undefined
}

/** The options of {@link globalTokenRevocation}. `authenticate`, `resolveSubject` and `end` are required. */
export interface GlobalTokenRevocationOptions {
  /**
   * Who may send commands: senders with tokens of their own, or a function of the host that authenticates the request.
   * Its `undefined` refuses the request with 401.
   */
  readonly authenticate: AuthenticateSender
  /**
   * Finds the users that a subject names. It must only find users of whom this sender may speak: those of its tenant.
   * The response is 404 for `[]`, 403 for `forbidden` and 422 for `unable`.
   */
  readonly resolveSubject: ResolveSubject<UserSubject, FastifyRequest>
  /** What a command ends. */
  readonly end: CommandEffectsOptions
  /**
   * Called once for each user, on the edge as far as the store can tell: with `end.sessions` if at least one of them ended,
   * without them each time. Awaited. Its failure is logged and does not change the response.
   */
  readonly onLogout?: ((event: LogoutEvent, request: FastifyRequest) => Awaitable<unknown>) | undefined
  /** Where the route is (by default at `/global-token-revocation`), how often it may be called, and how it is documented. */
  readonly route?: LimitedRouteOptions | undefined
  /** How long each call to the host's functions may take, in milliseconds. A request takes at most five times as long. @default 2000 */
  readonly timeout?: number | undefined
}

function resolveOptions (options: GlobalTokenRevocationOptions, { log }: FastifyInstance) {
  const { resolveSubject, onLogout } = options
  assertOption(typeof resolveSubject === 'function', plugin, 'resolveSubject',
    'is missing: pass a function (subject, sender, request) => users')
  assertFunctions(options, plugin, ['onLogout'])
  assertGrouped(options, plugin, {
    authenticate: senderTokenMembers,
    end: ['sessions', 'revoke', 'alsoEnd', 'revokeRefreshTokens'],
    route: limitedRouteMembers
  })
  const timeout = duration(options.timeout, 2000, plugin, 'timeout')
  const ask = askWithin(timeout, plugin, log)
  return {
    ask,
    allWithin: 5 * timeout,
    route: resolveRoute(options.route, '/global-token-revocation', plugin),
    resolveSubject,
    ...resolveEnd(options.end, ask),
    notify: logoutNotice<LogoutEvent>(plugin, ask, { onLogout, summaryOf: sessionSummary }),
    ...resolveAuthentication(options.authenticate, { caller: plugin, ask, timeout })
  }
}

function resolveEnd (options: CommandEffectsOptions, ask: Ask) {
  const end = endUsers(options, plugin, ask)
  const { revokeRefreshTokens, alsoEnd } = options
  assertOption(typeof revokeRefreshTokens === 'function' || revokeRefreshTokens === false, plugin, 'end.revokeRefreshTokens',
    'is missing: pass a function (users, command, request), or false if you issue no refresh tokens')
  return { end, revokeRefreshTokens, alsoEnd }
}

// Schema

function routeSchema (path: string, security: readonly SecurityRequirement[] | undefined) {
  return freshSchema({
    operationId: operationId('globalTokenRevocation', path),
    summary: 'End every session and token of a user',
    tags: ['logout'],
    ...(security !== undefined && { security }),
    consumes: ['application/json'],
    body: Type.Object({ sub_id: Type.Object({ format: Type.String() }, { description: 'The user, as a subject identifier (RFC 9493)' }) }),
    response: {
      204: Type.Null({ description: 'Everything of the user has ended' }),
      ...oauthFailures({
        400: 'The body is not a command',
        401: 'The token is missing or refused',
        403: 'This sender may not log this user out',
        404: 'There is no such user',
        422: 'This user cannot be logged out'
      })
    }
  })
}

// Flow

const admission = Symbol('fastify-logout.global-token-revocation.admission')

/**
 * `POST /global-token-revocation`: an identity provider ends everything that a user has at the host. Okta sends it as
 * Universal Logout.
 *
 * A 204 means that the marks, the refresh tokens, the sessions and `alsoEnd` have succeeded. If one of them could not tell,
 * the response is a 503, and the same request can be sent again. A token names no user, so a token that was used is
 * refused for another body.
 *
 * @throws {TypeError} while registering, for an option that is missing or wrong
 * @see https://datatracker.ietf.org/doc/draft-parecki-oauth-global-token-revocation/
 * @see https://developer.okta.com/docs/guides/oin-universal-logout-overview/
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { globalTokenRevocation } from 'fastify-logout'
 * import { memoryRevocationStore } from 'fastify-logout/revocation-stores/memory'
 * import { memorySessionStore } from 'fastify-logout/session-stores/memory'
 *
 * // Your users, by their tenant and their id at the tenant's Okta organization.
 * const users = new Map([['acme 00u1', 'alice']])
 *
 * const app = Fastify()
 * await app.register(globalTokenRevocation, {
 *   authenticate: {
 *     senders: [{
 *       issuer: 'https://acme.okta.com',
 *       clientId: '0oa1',
 *       jwksUri: 'https://acme.okta.com/oauth2/v1/keys',
 *       tenant: 'acme'
 *     }],
 *     endpointUrl: 'https://app.example/global-token-revocation',
 *     revocations: memoryRevocationStore()
 *   },
 *   resolveSubject: (subject, { issuer, tenant }) => {
 *     if (subject.format !== 'iss_sub' || subject.iss !== issuer) return []
 *     const user = users.get(`${tenant} ${subject.sub}`)
 *     return user === undefined ? [] : [{ subject: user, tenant }]
 *   },
 *   end: { revokeRefreshTokens: false, sessions: memorySessionStore() }
 * })
 * ```
 */
export const globalTokenRevocation: FastifyPluginAsync<GlobalTokenRevocationOptions> = fp(routes, {
  name: 'fastify-logout/global-token-revocation', fastify: '5.x', encapsulate: true
})

async function routes (fastify: FastifyInstance, options: GlobalTokenRevocationOptions): Promise<void> {
  const settings = resolveOptions(options, fastify)
  const { ask, route, findSender } = settings
  const revoke = revocation(settings)

  await prepareLimitedScope(fastify, { caller: plugin, ask, route, answerFailure })
  readJsonCommands(fastify)
  fastify.decorateRequest(admission, null)

  fastify.route<{ Body: JsonCommand | undefined }>({
    method: 'POST',
    url: route.path,
    bodyLimit,
    schema: routeSchema(fastify.prefix + route.path, route.security),
    onRequest: async (request, reply) => {
      const admitted = await findSender(request)
      if ('problem' in admitted) return refuse(request, reply, { error: refusals.token(admitted.problem), sender: admitted })
      request.setDecorator(admission, admitted)
    },
    handler: async (request, reply) => {
      const admitted = request.getDecorator<AdmittedSender>(admission)
      const refusal = await allWithin(settings.allWithin, () => revoke(request, admitted))
      if (refusal !== undefined) return refuse(request, reply, { error: refusal, sender: admitted.sender })
      return sendEmpty(reply, 204)
    }
  })
}

type Settings = ReturnType<typeof resolveOptions>
type CommandRequest = FastifyRequest<{ Body: JsonCommand | undefined }>

/** Ends everything of the users that a command names. Returns why it was refused. */
function revocation (settings: Settings) {
  const { ask, revocations, notify } = settings
  const used = revocations && usedTokens(revocations, ask)
  const resolve = resolution(settings)
  const endAll = ending(settings)

  return async (request: CommandRequest, { sender, token, tolerate }: AdmittedSender): Promise<OAuthError | undefined> => {
    const { body } = request
    if (body === undefined || body === null) return refusals.invalid('body')
    const subject = subjectOf(body.json, tolerate)
    if (isProblem(subject)) return refusals.invalid(subject.problem)
    const usable = token && { ...token, body: body.text }
    const state = usable && await used?.stateOf(usable)
    if (state === 'done') return undefined
    if (state === 'used') return refusals.token('used')

    const command: RevocationCommand = { subject, sender, at: Date.now() }
    const users = await resolve(command, request)
    if ('status' in users) return users
    const edges = collectEdges(notify, request)
    try {
      await endAll(users, command, { request, edges })
      if (usable !== undefined) await used?.remember(usable)
    } finally {
      await edges.notify()
    }
    return undefined
  }
}

function subjectOf (json: unknown, tolerate: readonly unknown[]) {
  const {
    sub_id: subject,
    subject: draft
  } = typeof json === 'object' && json !== null && !Array.isArray(json) ? json as Partial<Record<string, unknown>> : {}
  return readUserSubject(subject === undefined && tolerate.includes('subject') ? draft : subject)
}

/** Finds the users of a command. All names of a user are resolved before anything ends. */
function resolution ({ ask, resolveSubject }: Settings) {
  return async ({ subject, sender }: RevocationCommand, request: FastifyRequest): Promise<readonly AffectedUser[] | OAuthError> => {
    const names = subject.format === 'aliases' ? subject.identifiers : [subject]
    const { users, refused } = await resolveUsers(names, plugin, name => {
      return ask('resolveSubject', () => resolveSubject(name, { ...sender }, request))
    })
    if (refused.has('forbidden')) return refusals.forbidden
    if (refused.has('unable')) return refusals.unable
    return users.length === 0 ? refusals.unknown : users
  }
}

/** Steps that can be repeated, in the order in which a retry needs them: what was ended stays ended. */
function ending ({ ask, end, revokeRefreshTokens, alsoEnd }: Settings) {
  return async (
    users: readonly AffectedUser[], command: RevocationCommand,
    { request, edges }: { readonly request: FastifyRequest, readonly edges: ReturnType<typeof collectEdges> }
  ): Promise<void> => {
    const given = () => users.map(user => ({ ...user }))
    await end.mark(users, command.at)
    if (revokeRefreshTokens !== false) await ask('revokeRefreshTokens', () => revokeRefreshTokens(given(), { ...command }, request))
    if (alsoEnd !== undefined) await ask('alsoEnd', () => alsoEnd(given(), { ...command }, request))
    await end.endSessions(users, command.at, edges)
  }
}

// Errors

const refusals = {
  invalid: (description: string): OAuthError => ({ status: 400, error: 'invalid_request', description }),
  token: (description: string): OAuthError => ({
    status: 401, error: 'invalid_token', description, challenge: description === 'missing' ? 'Bearer' : 'Bearer error="invalid_token"'
  }),
  forbidden: { status: 403, error: 'access_denied' },
  unknown: { status: 404, error: 'not_found' },
  unable: { status: 422, error: 'unable' }
}

interface Refusal {
  readonly error: OAuthError
  readonly sender: { readonly issuer?: string | undefined } | undefined
}

function refuse (request: FastifyRequest, reply: FastifyReply, { error, sender }: Refusal): FastifyReply {
  const code = error.description ?? error.error
  request.log.warn({ event: 'security-event.refused', sender: sender?.issuer ?? 'unknown', code },
    'a command to log a user out was refused')
  return sendOAuthError(reply, error)
}

const answerOtherFailure = oauthErrorHandler('a command to log a user out could not be carried out')

function answerFailure (thrown: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const problem = bodyProblemOf(thrown)
  if (problem === undefined) return answerOtherFailure(thrown, request, reply)
  const sender = request.getDecorator<AdmittedSender | null>(admission)?.sender
  refuse(request, reply, { error: refusals.invalid(problem), sender })
}
