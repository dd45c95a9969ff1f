import { KindGuard } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import { overrideHeaders } from './override-headers.ts'

/**
 * Makes an encapsulated scope independent of the host's parsers, compilers and Ajv options. Bodies are parsed only by the
 * parsers that the flow adds, and nothing is validated: schemas only document the routes, also those that hooks of the host add.
 *
 * Replies are independent of the host if they are sent as text with {@link verbatim}.
 */
export function isolateFromHost (scope: FastifyInstance): void {
  scope.removeAllContentTypeParsers()
  scope.setValidatorCompiler(() => () => true)
  scope.setSerializerCompiler(() => JSON.stringify)
}

/**
 * Makes an isolated scope validate bodies by their TypeBox schemas, without coercion. Invalid requests are refused even if
 * the host sets `attachValidation` on every route. Other parts of a request are not validated.
 *
 * The compiler is imported only now: it takes a fifth of the time in which Fastify is imported.
 */
export async function validateBodies (scope: FastifyInstance): Promise<void> {
  const { TypeCompiler } = await import('@sinclair/typebox/compiler')
  scope.setValidatorCompiler(({ schema, httpPart }) => {
    if (httpPart !== 'body' || !KindGuard.IsSchema(schema)) return () => true
    const compiled = TypeCompiler.Compile(schema)
    return (value: unknown) => compiled.Check(value) ? { value } : { error: new Error('the value does not match its schema') }
  })
  scope.addHook('preHandler', ({ validationError }, _reply, done) => { done(validationError) })
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
