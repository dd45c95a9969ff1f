import { Type } from '@sinclair/typebox'
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Awaitable } from '../awaitable.ts'
import { bodyLimit, formOf, mediaTypes, readForms, type Form } from '../internal/http/form.ts'
import { hasControls, readClientCredentials, usesBasic, type ClientCredentials } from '../internal/oauth/client-credentials.ts'
import { oauthErrorHandler, oauthFailures, sendEmpty, sendOAuthError, type OAuthError } from '../internal/oauth/error.ts'
import { prepareLimitedScope, limitedRouteMembers, type LimitedRouteOptions } from '../internal/oauth/limited-route.ts'
import { askWithin } from '../internal/plugin/ask.ts'
import { freshSchema, operationId } from '../internal/plugin/openapi.ts'
import { assertGrouped, assertOption, duration } from '../internal/plugin/options.ts'
import { resolveRoute } from '../internal/plugin/route.ts'

const plugin = 'tokenRevocation'
const standardPath = '/oauth/revoke'

// Options

/** A token that a client gives back. */
export interface TokenToRevoke {
  /** An access token or a refresh token, as the client sent it: perhaps unknown, expired, or another client's. */
  readonly token: string
  /** What the client takes it for, for example `refresh_token`. It only says where to look first: search everywhere. */
  readonly hint?: string | undefined
  /** What `authenticateClient` returned. */
  readonly clientId: string
}

/** The options of {@link tokenRevocation}. `authenticateClient` and `revokeToken` are required. */
export interface TokenRevocationOptions {
  /**
   * Checks the proof of a client and returns its id. `undefined` refuses the request with 401. A client without `secret` and
   * `assertion` is a public one: return its id only if it was registered as such.
   */
  readonly authenticateClient: (credentials: ClientCredentials, request: FastifyRequest) => Awaitable<string | undefined>
  /**
   * Revokes a token of this client, for a refresh token with the access tokens that it gave. `undefined` if the client has no such
   * token. `unsupported` for a kind of token that cannot be revoked: the response is 400.
   */
  readonly revokeToken: (revocation: TokenToRevoke, request: FastifyRequest) => Awaitable<'revoked' | 'unsupported' | undefined>
  /** Where the route is (by default at `/oauth/revoke`), how often it may be called, and how it is documented. */
  readonly route?: LimitedRouteOptions | undefined
  /** How long each call to the host's functions may take, in milliseconds. @default 2000 */
  readonly timeout?: number | undefined
}

function resolveOptions (options: TokenRevocationOptions, { log }: FastifyInstance) {
  const { authenticateClient, revokeToken } = options
  assertOption(typeof authenticateClient === 'function', plugin, 'authenticateClient',
    'is missing: pass a function (credentials, request) => client id')
  assertOption(typeof revokeToken === 'function', plugin, 'revokeToken',
    "is missing: pass a function ({ token, hint, clientId }, request) => 'revoked', 'unsupported' or undefined")
  assertGrouped(options, plugin, { route: limitedRouteMembers })
  const route = resolveRoute(options.route, standardPath, plugin)
  return { authenticateClient, revokeToken, route, ask: askWithin(duration(options.timeout, 2000, plugin, 'timeout'), plugin, log) }
}

type Settings = ReturnType<typeof resolveOptions>

// Schema

const optionalText = (description: string) => Type.Optional(Type.String({ description }))

function routeSchema (prefix: string, { path, security }: Settings['route']) {
  return freshSchema({
    ...(security !== undefined && { security }),
    operationId: operationId('tokenRevocation', prefix + (path === standardPath ? '' : path)),
    summary: 'Revoke an access token or a refresh token',
    tags: ['logout'],
    consumes: [...mediaTypes],
    body: Type.Object({
      token: Type.String({ description: 'The token to revoke' }),
      token_type_hint: optionalText('The kind of the token: access_token or refresh_token'),
      client_id: optionalText('The client, unless it authenticates by HTTP Basic'),
      client_secret: optionalText('The secret of the client'),
      client_assertion_type: optionalText('The kind of the assertion'),
      client_assertion: optionalText('A signed proof of the client')
    }),
    response: {
      200: Type.Null({ description: 'The client has no such token any more' }),
      ...oauthFailures({
        400: 'The request is malformed, or tokens of this kind cannot be revoked',
        401: 'The client is unknown, or its proof is wrong',
        413: 'The body is too long',
        429: 'Too many requests',
        503: 'The outcome is unknown: retry'
      })
    }
  })
}

// Flow

/**
 * `POST /oauth/revoke`: a client of an authorization server gives back a token (RFC 7009).
 *
 * A 200 means that `revokeToken` succeeded, and that the client has no such token any more: it was revoked now or before, or it never
 * was the client's. If one of the two functions could not tell, the response is a 503, and the same request can be sent again.
 *
 * Clients authenticate by HTTP Basic, by `client_secret` in the form, by an assertion (RFC 7521), or by what the host finds in the
 * request, such as a certificate.
 *
 * @throws {TypeError} while registering, for an option that is missing or wrong
 * @see https://www.rfc-editor.org/rfc/rfc7009
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { tokenDigest, tokenRevocation } from 'fastify-logout'
 * import { timingSafeEqual } from 'node:crypto'
 *
 * // Your clients, by the digests of their secrets, and your refresh tokens.
 * const clients = new Map([['shop', tokenDigest('the secret of the shop')]])
 * const refreshTokens = new Map([[tokenDigest('a refresh token'), { clientId: 'shop' }]])
 *
 * const app = Fastify()
 * await app.register(tokenRevocation, {
 *   authenticateClient: ({ id, secret }) => {
 *     const digest = clients.get(id)
 *     if (digest === undefined || secret === undefined) return undefined
 *     return timingSafeEqual(Buffer.from(digest), Buffer.from(tokenDigest(secret))) ? id : undefined
 *   },
 *   revokeToken: ({ token, clientId }) => {
 *     const digest = tokenDigest(token)
 *     if (refreshTokens.get(digest)?.clientId !== clientId) return undefined
 *     refreshTokens.delete(digest)
 *     return 'revoked'
 *   }
 * })
 * ```
 */
export const tokenRevocation: FastifyPluginAsync<TokenRevocationOptions> = fp(routes, {
  name: 'fastify-logout/token-revocation', fastify: '5.x', encapsulate: true
})

async function routes (fastify: FastifyInstance, options: TokenRevocationOptions): Promise<void> {
  const settings = resolveOptions(options, fastify)
  const { ask, route } = settings
  const revoke = revocation(settings)

  await prepareLimitedScope(fastify, { caller: plugin, ask, route, answerFailure })
  readForms(fastify)

  fastify.post(route.path, { bodyLimit, schema: routeSchema(fastify.prefix, route) }, async (request, reply) => {
    const refusal = await revoke(request)
    if (refusal !== undefined) return refuse(refusal, request, reply)
    return sendEmpty(reply, 200)
  })
}

/** Why a request is refused, and for the log the client, once it is known. */
interface Refusal extends OAuthError {
  readonly description: string
  readonly clientId?: string | undefined
}

/** Revokes the token of a request. Returns why it was refused. */
function revocation ({ ask, authenticateClient, revokeToken }: Settings) {
  return async (request: FastifyRequest): Promise<Refusal | undefined> => {
    const form = formOf(request)
    if (form === 'malformed') return refusals.request(form)
    const problem = problemOf(form)
    if (problem !== undefined) return refusals.request(problem)
    const { authorization } = request.headers
    const credentials = readClientCredentials(authorization, form)
    if ('problem' in credentials) {
      return credentials.problem === 'unnamed' ? refusals.client(credentials.problem, authorization) : refusals.request(credentials.problem)
    }

    const clientId = await ask('authenticateClient', () => authenticateClient(credentials, request))
    if (!isClientId(clientId)) return refusals.client('refused', authorization)
    const [token = '', hint = ''] = ['token', 'token_type_hint'].map(name => form.get(name)?.[0])
    const outcome = await ask('revokeToken', () => revokeToken({ token, clientId, ...(hint !== '' && { hint }) }, request))
    if (outcome === 'unsupported') return { ...refusals.unsupported, clientId }
    if (outcome === 'revoked' || outcome === undefined || outcome === null) return undefined
    throw new TypeError(`${plugin}: option "revokeToken" must return "revoked", "unsupported" or undefined`)
  }
}

const known = ['token', 'token_type_hint', 'client_id', 'client_secret', 'client_assertion_type', 'client_assertion']

/** Why this form is not a request to revoke a token. Parameters without a value count as left out. */
function problemOf (form: Exclude<Form, 'malformed'>): string | undefined {
  const values = known.map(name => form.get(name) ?? [])
  if (values.some(({ length }) => length > 1)) return 'repeated'
  if (values.flat().some(hasControls)) return 'malformed'
  return form.get('token')?.[0] ? undefined : 'missing'
}

/** A host in JavaScript may return `true`, which names no client. */
function isClientId (returned: unknown): returned is string {
  if (returned === undefined || returned === null || returned === false) return false
  if (typeof returned === 'string' && returned !== '') return true
  throw new TypeError(`${plugin}: option "authenticateClient" must return the id of the client, or undefined`)
}

// Errors

const refusals = {
  request: (problem: string): Refusal => ({ status: 400, error: 'invalid_request', description: problem }),
  client: (problem: string, authorization: string | undefined): Refusal => ({
    status: 401,
    error: 'invalid_client',
    description: problem,
    // To a client without HTTP Basic it would be wrong, and browsers ask their users for a password.
    ...(usesBasic(authorization) && { challenge: 'Basic realm="token revocation", charset="UTF-8"' })
  }),
  unsupported: { status: 400, error: 'unsupported_token_type', description: 'unsupported' }
}

function refuse ({ clientId = 'unknown', ...error }: Refusal, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  request.log.warn({ event: 'token-revocation.refused', clientId, code: error.description }, 'a request to revoke a token was refused')
  return sendOAuthError(reply, error)
}

const answerFailure = oauthErrorHandler('a token could not be revoked')
