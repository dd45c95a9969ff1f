import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { IncomingMessage } from 'node:http'
import { overrideHeaders } from '../plugin/override-headers.ts'
import { logoutError } from './error.ts'

const json = 'application/json'
const form = 'application/x-www-form-urlencoded'

/** The media types of the bodies that {@link readBodies} reads. */
export const mediaTypes: readonly string[] = [json, form]

/** At most this many bytes are read. */
export const bodyLimit = 8192

/**
 * Makes an isolated scope read JSON objects and forms, whatever parsers the host has. An empty body of any media type has
 * no fields. Other bodies of other media types are refused with 415. A field that a form repeats is a list.
 */
export function readBodies (scope: FastifyInstance): void {
  const parseJson = scope.getDefaultJsonParser('remove', 'remove')

  // Fastify remembers the parser of a type that it knows by name, and searches the one of '*' anew for each request.
  scope.addContentTypeParser([json, form, '*'], { parseAs: 'buffer' }, (request: FastifyRequest, body: Buffer, done) => {
    if (body.length === 0) return done(null, undefined)
    const type = request.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase()
    if (type === form) return done(...parsedForm(body.toString()))
    if (type !== json) return done(unsupported(), undefined)
    parseJson(request, body.toString(), (error, value) => {
      if (error || !isObject(value)) done(logoutError('LOGOUT_BODY'), undefined)
      else done(null, value)
    })
  })

  scope.addHook('preParsing', (request, _reply, _payload, done) => {
    const given = request.headers['content-type']
    if (given !== undefined && wellFormed.test(given)) return done()
    // Fastify refuses a malformed media type also without a body, and takes HTTP/2 without a length for no body.
    if (given !== undefined) overrideHeaders(request, { 'content-type': undefined })
    if (mayHaveUnknownLength(request.raw)) overrideHeaders(request, { 'transfer-encoding': 'chunked' })
    done()
  })
}

/** Returns the fields of a body as {@link readBodies} left them; none if there was no body. */
export function fieldsOf (body: unknown): Readonly<Record<string, unknown>> {
  if (body === undefined || body === null) return {}
  if (!isObject(body)) throw logoutError('LOGOUT_BODY')
  return body
}

const token = "[\\w!#$%&'*+.^`|~-]+"
const wellFormed = new RegExp(`^\\s*${token}/${token}\\s*(?:;|$)`)

function mayHaveUnknownLength (raw: IncomingMessage & { readonly stream?: { readonly endAfterHeaders?: boolean } }): boolean {
  return raw.httpVersionMajor === 2 && raw.stream?.endAfterHeaders !== true
}

function parsedForm (text: string): [error: Error | null, fields: unknown] {
  try {
    decodeURIComponent(text)
  } catch {
    return [logoutError('LOGOUT_BODY'), undefined]
  }
  const fields: Record<string, unknown> = Object.create(null)
  const form = new URLSearchParams(`&${text}`)
  for (const name of form.keys()) {
    const values = form.getAll(name)
    fields[name] = values.length === 1 ? values[0] : values
  }
  return [null, fields]
}

function isObject (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The same error that Fastify has for a media type without a parser. */
function unsupported (): Error {
  return Object.assign(new Error('Unsupported Media Type'), { statusCode: 415, code: 'FST_ERR_CTP_INVALID_MEDIA_TYPE' })
}
