import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { requestJson, type JsonRequest, type RequestLimits } from '../../../lib/internal/http/json-request.ts'

const limits: RequestLimits = { fetch: globalThis.fetch, timeout: 5000, maxLength: 100 }

async function serve (t: Test, listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/secret-path`
}

t.test('the JSON of a 200 and of one other status is returned', async t => {
  const seen: unknown[] = []
  const url = await serve(t, async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    seen.push([request.method, request.headers.accept, request.headers['content-type'], request.headers['x-own'], body])
    response.writeHead(request.method === 'POST' ? 400 : 200).end('{"a":1}')
  })
  t.strictSame(await requestJson(limits, url), { status: 200, json: { a: 1 } })
  const post: JsonRequest = { method: 'POST', body: new URLSearchParams({ token: 'x' }), headers: { 'x-own': 'yes' }, alsoRead: 400 }
  t.strictSame(await requestJson(limits, url, post), { status: 400, json: { a: 1 } })
  t.strictSame(seen, [
    ['GET', 'application/json', undefined, undefined, ''],
    ['POST', 'application/json', 'application/x-www-form-urlencoded;charset=UTF-8', 'yes', 'token=x']
  ])
})

t.test('a response that cannot be read is a rejection that quotes nothing of it', async t => {
  const answers: Readonly<Record<string, readonly [listener: RequestListener, message: RegExp]>> = {
    'another status': [(_request, response) => response.writeHead(500).end('{"secret":1}'), /^the response has status 500$/],
    'an empty 204': [(_request, response) => response.writeHead(204).end(), /^the response has status 204$/],
    'a redirect': [(_request, response) => response.writeHead(302, { location: '/secret' }).end(), /^the response has status 302$/],
    'not JSON': [(_request, response) => response.end('secret'), /^the response is not JSON$/],
    'no body': [(_request, response) => response.end(), /^the response is not JSON$/],
    'too long': [(_request, response) => response.end(JSON.stringify('x'.repeat(100))), /^the response is longer than 100 bytes$/],
    'too long when unpacked': [
      (_request, response) => response.setHeader('content-encoding', 'gzip').end(gzipSync(JSON.stringify('x'.repeat(10_000)))),
      /^the response is longer than 100 bytes$/
    ],
    'a connection that ends': [(_request, response) => { response.socket?.destroy() }, /./],
    'a body that ends too soon': [
      (_request, response) => { response.writeHead(200, { 'content-length': '50' }).write('{"a"', () => response.socket?.destroy()) }, /./
    ]
  }
  for (const [name, [listener, message]] of Object.entries(answers)) {
    const error = await requestJson(limits, await serve(t, listener)).then(() => undefined, (error: Error) => error)
    t.match(error?.message, message, name)
    t.notMatch(String(error?.message), 'secret', name)
  }
  t.strictSame(await requestJson(limits, await serve(t, (_request, response) => response.end(JSON.stringify('x'.repeat(98))))), {
    status: 200, json: 'x'.repeat(98)
  }, 'as long as allowed')
})

t.test('a redirect that the host\'s fetch followed is refused, and its body is cancelled', async t => {
  let cancelled = false
  const body = new ReadableStream({ cancel: () => { cancelled = true } })
  const fetch = async () => Object.defineProperty(new Response(body), 'redirected', { value: true })
  await t.rejects(requestJson({ ...limits, fetch }, 'http://127.0.0.1/'), { message: 'the response is a redirect' })
  t.ok(cancelled)
})

t.test('after the timeout it rejects, whatever fetch does, and the request is aborted', async t => {
  let signal: AbortSignal | null | undefined
  const never = async (_url: unknown, init?: RequestInit) => {
    signal = init?.signal
    return new Promise<Response>(() => {})
  }
  await t.rejects(requestJson({ ...limits, timeout: 20, fetch: never }, 'http://127.0.0.1/'), { message: 'no answer within 20 ms' })
  t.ok(signal?.aborted)

  const stalling = await serve(t, (_request, response) => { response.write('{"a":') })
  await t.rejects(requestJson({ ...limits, timeout: 100 }, stalling), { message: 'no answer within 100 ms' }, 'the body counts too')
  const throwing = () => { throw new Error('no proxy') }
  await t.rejects(requestJson({ ...limits, fetch: throwing }, 'http://127.0.0.1/'), { message: 'no proxy' })
})

t.test('redirects are not followed, and the caller cannot change that', async t => {
  let given: RequestInit | undefined
  const fetch = async (_url: unknown, init?: RequestInit) => {
    given = init
    return new Response('{}')
  }
  await requestJson({ ...limits, fetch }, 'http://127.0.0.1/', { redirect: 'follow', signal: null } as JsonRequest)
  t.equal(given?.redirect, 'manual')
  t.ok(given?.signal instanceof AbortSignal)
})
