import { Kind, type TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import type { FastifyInstance, FastifySchema, InjectOptions } from 'fastify'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'

/** What came over the wire, without the headers that belong to the moment and the connection. */
export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly body: string
}

export type HeaderLines = ReadonlyArray<readonly [name: string, value: string]>

export interface Wire {
  /** Injects a request. An answer of a logout route is checked against the route's own response schema. */
  inject (request: InjectOptions): Promise<Answer>
  /** The same over a socket, header by header: for what an injected request hides. */
  send (requestLine: string, headers?: HeaderLines, body?: string | Buffer): Promise<Answer>
  /** Over a socket, unchecked: for what is answered before a route is found. */
  sendUnchecked (requestLine: string, headers?: HeaderLines, body?: string | Buffer): Promise<Answer>
}

/**
 * Watches the logout routes of a server; call it before they are registered. Every answer of theirs must match the
 * response schema that the route declares for its status, and must not be cached.
 */
export function wire (app: FastifyInstance): Wire {
  const routes: Array<{ readonly pattern: RegExp, readonly responses: Readonly<Record<string, TSchema>> }> = []
  app.addHook('onRoute', ({ method, url, schema }) => {
    if (schema === undefined || !isLogout(schema)) return
    const responses = schema.response as Record<string, TSchema>
    for (const name of [method].flat()) routes.push({ pattern: patternOf(`${name} ${url}`), responses })
  })

  const checked = (method: string, target: string, answer: Answer): Answer => {
    const asked = `${method} ${target.split('?', 1)[0]}`
    const route = routes.find(({ pattern }) => pattern.test(asked))
    if (route !== undefined) assertDeclared(route.responses, answer, method)
    return answer
  }

  const sendUnchecked: Wire['sendUnchecked'] = async (requestLine, headers = [], body = '') => {
    if (!app.server.listening) await app.listen({ port: 0, host: '127.0.0.1' })
    return overSocket((app.server.address() as AddressInfo).port, requestLine, headers, body)
  }

  return {
    sendUnchecked,
    async inject (request) {
      const { statusCode, headers, body } = await app.inject(request)
      return checked(request.method ?? 'GET', String(request.url), { status: statusCode, headers: lasting(headers), body })
    },
    async send (requestLine, headers, body) {
      const [method = '', target = ''] = requestLine.split(' ')
      return checked(method, target, await sendUnchecked(requestLine, headers, body))
    }
  }
}

/** Matches what Fastify's router finds for this route: parameters are one segment of the path. */
function patternOf (route: string): RegExp {
  return new RegExp(`^${route.replace(/[.$^(){}[\]|+?]/g, '\\$&').replace(/:\w+/g, '[^/]+').replace('*', '.+')}$`)
}

function isLogout (schema: FastifySchema & { readonly tags?: readonly string[] }): boolean {
  return schema.tags?.includes('logout') === true
}

/** Fails unless this answer is one that the responses of a route schema declare, and is not to be cached. */
export function assertDeclared (responses: Readonly<Record<string, TSchema>>, { status, headers, body }: Answer, method = 'GET'): void {
  const declared = responses[status] ?? responses[`${String(status)[0]}xx`]
  assert(declared !== undefined, `no response is declared for ${status}: ${body}`)
  const schema = 'content' in declared ? ofMediaType(declared['content'], headers) : declared
  if (schema[Kind] === 'Null') {
    assert.equal(body, '', `a ${status} has no body`)
    assert.equal(headers['content-type'], undefined, `a ${status} has no content type`)
  } else if (schema[Kind] === 'String') {
    assert.equal(headers['content-type'], 'text/html; charset=utf-8')
    assert(Value.Check(schema, body) && body !== '')
  } else {
    assert.match(String(headers['content-type']), /^application\/json(; charset=utf-8)?$/)
    if (method === 'HEAD') assert.equal(body, '', 'a response to HEAD has no body')
    else assert(Value.Check(schema, JSON.parse(body)), `this is not what is declared for ${status}: ${body}`)
  }
  assert.equal(headers['cache-control'], 'no-store', `a ${status} is not to be cached`)
}

/** The schema of a response that is declared for several media types. */
function ofMediaType (content: unknown, headers: Answer['headers']): TSchema {
  const type = String(headers['content-type']).split(';', 1)[0] ?? ''
  const found = (content as Readonly<Record<string, { readonly schema: TSchema }>>)[type]
  assert(found !== undefined, `no response is declared for ${type}`)
  return found.schema
}

function lasting (headers: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { date, connection, 'keep-alive': keepAlive, ...rest } = headers
  return rest
}

async function overSocket (port: number, requestLine: string, headers: HeaderLines, body: string | Buffer): Promise<Answer> {
  const socket = connect(port, '127.0.0.1')
  socket.setTimeout(10_000, () => socket.destroy(new Error(`no answer to ${requestLine}`)))
  const chunks: Buffer[] = []
  socket.on('data', chunk => chunks.push(chunk))
  // A server that answers a request before it has read it all resets the connection behind its answer.
  const closed = once(socket, 'close').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ECONNRESET' || chunks.length === 0) throw error
  })
  const lines = [['Host', '127.0.0.1'], ...headers, ['Connection', 'close']].map(([name, value]) => `${name}: ${value}\r\n`)
  socket.write(`${requestLine} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1')
  socket.write(body)
  await closed
  return parsed(Buffer.concat(chunks).toString())
}

function parsed (text: string): Answer {
  const end = text.indexOf('\r\n\r\n')
  const [statusLine = '', ...lines] = text.slice(0, end).split('\r\n')
  const headers: Record<string, unknown> = {}
  for (const line of lines) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    const value = line.slice(colon + 1).trim()
    headers[name] = name in headers ? [headers[name], value].flat() : value
  }
  return { status: Number(statusLine.split(' ')[1]), headers: lasting(headers), body: text.slice(end + 4) }
}
