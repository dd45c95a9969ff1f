import type { FastifyInstance, FastifyReply, FastifyRequest, FastifySchema, HTTPMethods, RouteHandlerMethod } from 'fastify'
import { isolateFromHost, takeNoBodies } from '../plugin/host-isolation.ts'
import { noActivity } from '../plugin/no-activity.ts'
import { publishRefusals } from '../plugin/diagnostics.ts'
import { freshSchema, operationId, type SecurityRequirement } from '../plugin/openapi.ts'
import { pathOf } from '../http/query.ts'
import { answerKratosFailure } from './error.ts'
import type { KratosIdKind } from './id.ts'

/** A request to a route of Kratos. */
export interface KratosCall {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  /** The decoded `:id` of the URL. Empty for a route without it. */
  readonly id: string
}

/** Handles the requests to a route. */
export type KratosHandler = (call: KratosCall) => Promise<FastifyReply>

/** The OpenAPI operation of a route: its name, a summary, parameters, and a response for every status. */
export interface KratosOperation extends FastifySchema {
  readonly operationId: string
  readonly summary: string
  readonly response: Readonly<Record<string, object>>
}

/** A route that ignores bodies and always responds with JSON. */
export interface KratosRoute {
  /** The first is the documented one. */
  readonly methods: readonly [HTTPMethods, ...HTTPMethods[]]
  /** Below the prefix. `:id` stands for an id. */
  readonly url: string
  readonly operation: KratosOperation
  readonly handler: KratosHandler
}

/** The options that all routes of one plugin share. */
export interface KratosRoutesOptions {
  readonly plugin: string
  readonly security: readonly SecurityRequirement[] | undefined
  readonly ids: KratosIdKind
}

/**
 * Adds routes to an encapsulated scope, isolated from the host. They ignore bodies, and every error gets Kratos' JSON.
 *
 * Fastify refuses a parameter of more than 100 characters with a 414, unless the host raises `maxParamLength`. A wildcard
 * has no such limit. If ids are any text, each route with an id therefore has a second route with a wildcard for long ids.
 */
export function addKratosRoutes (scope: FastifyInstance, routes: readonly KratosRoute[], options: KratosRoutesOptions): void {
  noActivity(scope)
  isolateFromHost(scope)
  publishRefusals(scope, options.plugin)
  takeNoBodies(scope)
  scope.setErrorHandler(answerKratosFailure)
  for (const route of routes) addRoute(scope, route, options)
}

function addRoute (scope: FastifyInstance, route: KratosRoute, { security, ids }: KratosRoutesOptions): void {
  const { methods, url, operation } = route
  for (const [index, method] of methods.entries()) {
    const schema = index === 0 ? documentedSchema(scope, operation, security) : hiddenSchema(operation)
    serve(scope, { method, url, schema, handler: handlerOf(route) })
    if (ids !== 'any' || !url.includes(':id')) continue
    serve(scope, { method, url: url.replace(/:id.*$/, '*'), schema: hiddenSchema(operation), handler: handlerOfLongIds(route) })
  }
}

interface ServedRoute {
  readonly method: HTTPMethods
  readonly url: string
  readonly schema: FastifySchema
  readonly handler: RouteHandlerMethod
}

function serve (scope: FastifyInstance, { method, url, schema, handler }: ServedRoute): void {
  scope.route({ method, url, ...(method === 'GET' && { exposeHeadRoute: false }), schema: freshSchema(schema), handler })
}

function documentedSchema ({ prefix }: FastifyInstance, operation: KratosOperation, security: KratosRoutesOptions['security']) {
  return {
    ...operation,
    operationId: operationId(operation.operationId, prefix),
    tags: ['logout'],
    ...(security !== undefined && { security })
  }
}

function hiddenSchema ({ response }: KratosOperation) {
  return { hide: true, tags: ['logout'], response }
}

function handlerOf ({ handler }: KratosRoute): RouteHandlerMethod {
  return async (request, reply) => {
    const { id = '' } = request.params as { readonly id?: string }
    return handler({ request, reply, id })
  }
}

function handlerOfLongIds ({ url, handler }: KratosRoute): RouteHandlerMethod {
  const end = url.slice(url.indexOf(':id') + ':id'.length)
  return async (request, reply) => {
    const id = longIdOf(request, end)
    return id === undefined ? reply.callNotFound() : handler({ request, reply, id })
  }
}

/**
 * Returns the id that the wildcard matched, without what follows an id in the URL. `undefined` if the id has a slash that is
 * not encoded: only the path as it was sent shows that. A router may ignore a slash at the end.
 */
function longIdOf (request: FastifyRequest, end: string): string | undefined {
  const { '*': rest } = request.params as { readonly '*': string }
  const path = pathOf(request).replace(/\/$/, '')
  if (!rest.endsWith(end) || !path.endsWith(end)) return undefined
  const id = rest.slice(0, rest.length - end.length)
  const start = path.slice(0, path.length - end.length)
  const segment = start.slice(start.lastIndexOf('/') + 1)
  return decodeURIComponent(segment) === id ? id : undefined
}
