import { KindGuard } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import type { FastifyInstance } from 'fastify'
import { overrideHeaders } from './override-headers.ts'

/**
 * Makes an encapsulated scope independent of the host's parsers, compilers and Ajv options: bodies are parsed only by
 * what the flow adds itself, and validated by their TypeBox schemas, without coercion. What is invalid is refused, also
 * where the host sets `attachValidation` on every route.
 *
 * A schema that a hook of the host adds to a route documents the route, and validates nothing unless it is a TypeBox schema.
 *
 * Replies need no such care as long as they are sent as text through {@link verbatim}.
 */
export function isolateFromHost (scope: FastifyInstance): void {
  scope.removeAllContentTypeParsers()
  scope.setValidatorCompiler(({ schema }) => {
    // A hook of the host may have added a schema of another library.
    if (!KindGuard.IsSchema(schema)) return () => true
    const compiled = TypeCompiler.Compile(schema)
    return (value: unknown) => compiled.Check(value) ? { value } : { error: new Error('the value does not match its schema') }
  })
  scope.setSerializerCompiler(() => JSON.stringify)
  scope.addHook('preHandler', ({ validationError }, _reply, done) => { done(validationError) })
}

/** Makes the route schemas of an isolated scope describe, and validate nothing: its handlers read the request themselves. */
export function validateNothing (scope: FastifyInstance): void {
  scope.setValidatorCompiler(() => () => true)
}

/** Makes an isolated scope one that takes no bodies: what is sent is not read, whatever its media type says. */
export function takeNoBodies (scope: FastifyInstance): void {
  scope.addContentTypeParser('*', (_request, body, done) => {
    body.resume()
    done(null)
  })
  // Fastify refuses a malformed media type before any parser is asked.
  scope.addHook('preParsing', async request => { overrideHeaders(request, { 'content-type': undefined }) })
}

/** A reply serializer that keeps a text as it is, so that neither a serializer nor a `preSerialization` hook of the host's rewrites it. */
export function verbatim (payload: unknown): string {
  return payload as string
}
