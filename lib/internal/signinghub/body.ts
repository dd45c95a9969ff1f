import { Type, type Static } from '@sinclair/typebox'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { overrideHeaders } from '../plugin/override-headers.ts'

/** The `code` of the error for a body that is not JSON. Fastify's own code for it differs between versions. */
export const notJson = 'LOGOUT_NOT_JSON'

/** The schema of the request body. TypeBox counts UTF-16 code units. */
export function bodySchema (deviceToken: { readonly required: boolean, readonly maxLength: number }) {
  const { required, maxLength } = deviceToken
  const description = 'The push token to remove. It is removed only if it belongs to this user.'
  return required
    ? Type.Object({ device_token: Type.String({ description, maxLength, pattern: '\\S' }) })
    : Type.Union([
      Type.Object({ device_token: Type.Optional(Type.Union([Type.String({ description, maxLength }), Type.Null()])) }),
      Type.Null()
    ])
}

export type LogoutBody = Static<ReturnType<typeof bodySchema>>

/** Adds the parsers of this flow to an isolated scope. A blank body of any media type counts as no body. Others must be JSON. */
export function acceptJson (fastify: FastifyInstance): void {
  const parse = fastify.getDefaultJsonParser('error', 'error')
  fastify.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body: string, done) => {
    if (body.trim() === '') done(null, undefined)
    else parse(request, body, (error, value) => done(error && Object.assign(error, { code: notJson }), value))
  })
  fastify.addContentTypeParser('*', { parseAs: 'string' }, (_request, body: string, done) => {
    if (body.trim() === '') done(null, undefined)
    else done(Object.assign(new Error('the body is not JSON'), { statusCode: 415 }))
  })
}

/**
 * Makes Fastify read bodies of every media type. By itself, Fastify refuses a malformed media type before a parser sees that
 * the body is blank, and over HTTP/2 it ignores a body that has neither a type nor a length.
 */
export function readAnyBody (request: FastifyRequest): void {
  const { headers, raw } = request
  const given = headers['content-type']
  const type = /^application\/json[ \t]*(?:;|$)/i.test(given ?? '') ? 'application/json' : undefined
  const hasUnknownLength = raw.httpVersionMajor > 1 && headers['content-length'] === undefined
  if (type !== given) overrideHeaders(request, { 'content-type': type })
  if (hasUnknownLength) overrideHeaders(request, { 'transfer-encoding': 'chunked' })
}
