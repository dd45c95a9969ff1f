import type { FastifyInstance } from 'fastify'
import { once } from 'node:events'
import { connect, type OutgoingHttpHeaders } from 'node:http2'
import type { AddressInfo } from 'node:net'

/** A request over HTTP/2, without TLS. */
export interface Http2Request {
  readonly method: string
  readonly path: string
  readonly headers?: OutgoingHttpHeaders
  /** Sent in DATA frames, without a length unless the headers have one. Without a body, the stream ends with the headers. */
  readonly body?: readonly string[]
}

/** What came back. */
export interface Http2Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly body: string
}

/** Sends a request to a server that was made with `http2: true`. */
export async function sendHttp2 (app: FastifyInstance, { method, path, headers, body }: Http2Request): Promise<Http2Answer> {
  if (!app.server.listening) await app.listen({ port: 0, host: '127.0.0.1' })
  const client = connect(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`)
  try {
    const stream = client.request({ ':method': method, ':path': path, ...headers }, { endStream: body === undefined })
    // A server may reset the stream once it has answered a request whose body it does not want.
    stream.on('error', () => {})
    const answered = once(stream, 'response', { signal: AbortSignal.timeout(10_000) })
    for (const chunk of body ?? []) stream.write(chunk)
    if (body !== undefined) stream.end()
    const [{ ':status': status, date, ...rest }] = await answered as [Record<string, unknown>]
    let text = ''
    for await (const chunk of stream.setEncoding('utf8')) text += chunk
    return { status: Number(status), headers: Object.fromEntries(Object.entries(rest)), body: text }
  } finally {
    client.destroy()
  }
}
