import { KindGuard } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import type { FastifyInstance } from 'fastify'
import { overrideHeaders } from './override-headers.ts'

/**
 * Makes an encapsulated scope independent of the host's parsers, compilers and Ajv options. Bodies are parsed only by the
 * parsers that the flow adds, and validated by their TypeBox schemas without coercion. Invalid requests are refused even if
 * the host sets `attachValidation` on every route. Schemas that hooks of the host add to a route only document it.
 *
 * Replies are independent of the host if they are sent as text with {@link verbatim}.
 */
export function isolateFromHost (scope: FastifyInstance): void {
  scope.removeAllContentTypeParsers()
  scope.setValidatorCompiler(({ schema, httpPart }) => {
    if (httpPart !== 'body' || !KindGuard.IsSchema(schema)) return () => true
    const compiled = TypeCompiler.Compile(schema)
    return (value: unknown) => compiled.Check(value) ? { value } : { error: new Error('the value does not match its schema') }
  })
  scope.setSerializerCompiler(() => JSON.stringify)
  scope.addHook('preHandler', ({ validationError }, _reply, done) => { done(validationError) })
}

/** Disables validation in an isolated scope. Its schemas only document the routes. */
export function validateNothing (scope: FastifyInstance): void {
  scope.setValidatorCompiler(() => () => true)
}

/** Makes the routes of an isolated scope ignore request bodies of every media type. */
export function takeNoBodies (scope: FastifyInstance): void {
  scope.addContentTypeParser('*', (_request, body, done) => {
    body.resume()
    done(null)
  })
  // Fastify refuses a malformed media type before it calls a parser.
  scope.addHook('preParsing', async request => { overrideHeaders(request, { 'content-type': undefined }) })
}

/** A reply serializer that returns text unchanged, so that no serializer and no `preSerialization` hook of the host rewrites it. */
export function verbatim (payload: unknown): string {
  return payload as string
}
