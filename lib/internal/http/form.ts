import type { FastifyInstance, FastifyRequest } from 'fastify'
import { isUtf8 } from 'node:buffer'
import { overrideHeaders } from '../plugin/override-headers.ts'

const form = 'application/x-www-form-urlencoded'

/** The media type that {@link readForms} reads. */
export const mediaTypes: readonly string[] = [form]

/** At most this many bytes are read. */
export const bodyLimit = 64 * 1024

/** The parameters of a form, each with its values; `malformed` for one that cannot be read. */
export type Form = ReadonlyMap<string, readonly string[]> | 'malformed'

/**
 * Makes an isolated scope read forms, whatever parsers the host has. The body of any other media type is a form without
 * parameters. One with a `Content-Encoding` or with wrong escapes is malformed.
 */
export function readForms (scope: FastifyInstance): void {
  // Fastify remembers the parser of a type that it knows by name, and searches the one of '*' anew for each request.
  scope.addContentTypeParser([form, '*'], { parseAs: 'buffer' }, (request: FastifyRequest, body: Buffer, done) => {
    const { 'content-type': type = '', 'content-encoding': encoding } = request.headers
    if (type.split(';', 1)[0]?.trim().toLowerCase() !== form) done(null, new Map())
    else done(null, encoding === undefined && isUtf8(body) ? parameters(body.toString()) : 'malformed')
  })

  // Fastify refuses a malformed media type before any parser is asked.
  scope.addHook('preParsing', async request => {
    if (!wellFormed.test(request.headers['content-type'] ?? '')) overrideHeaders(request, { 'content-type': undefined })
  })
}

const token = "[\\w!#$%&'*+.^`|~-]+"
const wellFormed = new RegExp(`^\\s*${token}/${token}\\s*(?:;|$)`)

/** The form of a request, as {@link readForms} left it. */
export function formOf ({ body }: FastifyRequest): Form {
  return body === 'malformed' || body instanceof Map ? body : new Map()
}

function parameters (text: string): Form {
  const found = new Map<string, string[]>()
  try {
    for (const pair of text.split('&').filter(pair => pair !== '')) {
      const end = pair.includes('=') ? pair.indexOf('=') : pair.length
      const name = formDecoded(pair.slice(0, end))
      found.set(name, [...found.get(name) ?? [], formDecoded(pair.slice(end + 1))])
    }
  } catch {
    return 'malformed'
  }
  return found
}

/** Decodes a name or a value of a form. Throws for wrong escapes. */
export function formDecoded (text: string): string {
  return decodeURIComponent(text.replaceAll('+', ' '))
}
