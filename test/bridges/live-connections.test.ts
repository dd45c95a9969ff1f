import fastify from 'fastify'
import { EventEmitter, once } from 'node:events'
import { createServer, get, type ServerResponse } from 'node:http'
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { WebSocket, WebSocketServer } from 'ws'
import { liveConnections, type ClosableSocket, type EndableStream, type LiveConnections } from '../../lib/bridges/live-connections.ts'
import type { Credential } from '../../lib/revocation-store.ts'
import { memoryRevocationStore } from '../../lib/revocation-stores/memory.ts'
import { eventually } from '../revocation-stores/follow.ts'

const until = Date.now() + 3_600_000

/** What reaches the process because nobody caught it. */
function uncaught (t: Test): unknown[] {
  const errors: unknown[] = []
  const listener = (error: unknown) => { errors.push(error) }
  for (const event of ['uncaughtException', 'unhandledRejection']) {
    process.on(event, listener)
    t.teardown(() => process.off(event, listener))
  }
  return errors
}

/** What is reported as a warning of the process. */
function warnings (t: Test): string[] {
  const messages: string[] = []
  const listener = ({ message }: Error) => { messages.push(message) }
  process.on('warning', listener)
  t.teardown(() => process.off('warning', listener))
  return messages
}

async function webSockets (t: Test, live: LiveConnections, onMessage: (text: string) => void = () => {}) {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  t.teardown(() => {
    for (const client of server.clients) client.terminate()
    server.close()
  })
  server.on('connection', (socket, request) => {
    socket.on('message', data => onMessage(String(data)))
    live.watchSocket(socket, { sessionId: request.url?.slice(1) })
  })
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    server,
    port,
    async open (id: string) {
      const socket = new WebSocket(`ws://127.0.0.1:${port}/${id}`)
      await once(socket, 'open')
      return socket
    },
    /** A client that upgrades, and then does what the test does. */
    async rawClient (id: string): Promise<Socket> {
      const raw = connect(port, '127.0.0.1')
      raw.on('error', () => {})
      raw.write(`GET /${id} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n')
      await once(raw, 'data')
      return raw
    }
  }
}

/** A text frame of a client, with a mask of zeros. */
function textFrame (text: string): Buffer {
  return Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)])
}

t.test('a WebSocket whose session is revoked is closed with 3000, others stay open', async t => {
  const revocations = memoryRevocationStore()
  const live = liveConnections(revocations)
  const { open } = await webSockets(t, live)
  const [one, two] = [await open('one'), await open('two')]
  await eventually(() => live.count() === 2, 'both are watched')
  revocations.revoke({ sessionId: 'one', until })
  const [code, reason] = await once(one, 'close')
  t.same([code, String(reason)], [3000, 'revoked'])
  t.equal(two.readyState, WebSocket.OPEN)
  two.close()
  await eventually(() => live.count() === 0, 'a connection that the client closes is forgotten')
})

t.test('a client that does not close is disconnected, and its messages after the revocation are ignored', async t => {
  const revocations = memoryRevocationStore()
  const live = liveConnections(revocations)
  const heard: string[] = []
  const { rawClient, server } = await webSockets(t, live, text => heard.push(text))
  const raw = await rawClient('deaf')
  const [socket] = server.clients
  raw.resume()
  raw.write(textFrame('before'))
  await eventually(() => heard.length === 1, 'the host hears the client')
  revocations.revoke({ sessionId: 'deaf', until })
  socket?.on('message', () => heard.push('a listener that is added later'))
  const revoked = Date.now()
  const sending = setInterval(() => raw.write(textFrame('after')), 20)
  t.teardown(() => clearInterval(sending))
  raw.on('error', () => {}) // a connection that is cut while it sends is often reset
  await new Promise(resolve => raw.once('close', resolve))
  t.ok(Date.now() - revoked < 10_000, 'long before the library would cut it')
  t.same(heard, ['before'])
  t.equal(live.count(), 0)
})

/** A host that goes on writing, and a client that has ceased to read. */
const deafStreams: Record<string, (t: Test) => Promise<EndableStream & { write (text: string): boolean }>> = {
  async 'HTTP/1.1' (t) {
    const server = createServer((_request, response) => { server.emit('response', response) })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
    client.on('error', () => {})
    client.pause()
    client.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
    t.teardown(() => { client.destroy(); server.close() })
    return (await once(server, 'response'))[0] as ServerResponse
  },
  async 'HTTP/2' (t) {
    const server = createHttp2Server((_request, response) => { server.emit('response', response) })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const client = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    client.on('error', () => {})
    const request = client.request({ ':path': '/' })
    request.on('error', () => {})
    request.pause()
    t.teardown(() => { client.destroy(); server.close() })
    return (await once(server, 'response'))[0]
  },
  async 'a stream that is piped' () {
    return new PassThrough()
  }
}

for (const [name, open] of Object.entries(deafStreams)) {
  t.test(`a client that has stopped reading cannot end the process: ${name}`, async t => {
    const errors = uncaught(t)
    const revocations = memoryRevocationStore()
    const live = liveConnections(revocations)
    const stream = await open(t)
    for (let count = 0; count < 100; count++) stream.write('x'.repeat(65_536))
    live.watchStream(stream, { sessionId: 's' })
    const gone = new Promise<void>(resolve => { stream.once('close', resolve) })
    const writing = setInterval(() => stream.write('more'), 10)
    revocations.revoke({ sessionId: 's', until })
    stream.write('at once')
    await gone
    await sleep(50)
    clearInterval(writing)
    t.same(errors, [])
    t.equal(live.count(), 0)
  })
}

t.test('an event stream is ended, and the client gets everything that was written', async t => {
  const revocations = memoryRevocationStore()
  const live = liveConnections(revocations)
  const app = fastify()
  t.teardown(() => app.close())
  app.get('/events', async (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' })
    reply.raw.write('data: hello\n\n')
    live.watchStream(reply.raw, { subject: 'alice', issuedAt: 1000 })
  })
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  let body = ''
  const ended = new Promise(resolve => {
    get(`${address}/events`, response => {
      response.on('data', chunk => { body += chunk })
      response.on('end', resolve)
    })
  })
  await eventually(() => live.count() === 1, 'it is watched')
  revocations.revoke({ subject: 'alice', cutoff: 1000, until })
  await ended
  t.equal(body, 'data: hello\n\n')
  t.equal(live.count(), 0)
})

t.test('a connection that is already closed is not kept', async t => {
  const live = liveConnections(memoryRevocationStore())
  const { open, server } = await webSockets(t, live)
  const client = await open('one')
  const [socket] = server.clients
  client.terminate()
  await once(socket as WebSocket, 'close')
  live.watchSocket(socket as WebSocket, { sessionId: 'one' })

  const through = new PassThrough()
  through.destroy()
  await once(through, 'close')
  live.watchStream(through, { sessionId: 'one' })
  for (const [name, response] of await closedResponses(t)) {
    live.watchStream(response, { sessionId: 'one' })
    t.equal(live.count(), 0, name)
  }
})

async function closedResponses (t: Test): Promise<Array<[string, EndableStream]>> {
  const http2 = await deafStreams['HTTP/2']?.(t) as EndableStream
  const http1 = await deafStreams['HTTP/1.1']?.(t) as EndableStream
  for (const response of [http1, http2]) {
    response.destroy()
    await once(response as unknown as EventEmitter, 'close')
  }
  return [['HTTP/1.1', http1], ['HTTP/2', http2]]
}

t.test('errors of a watched connection do not reach others', async t => {
  const errors = uncaught(t)
  const live = liveConnections(memoryRevocationStore())
  const through = new PassThrough()
  live.watchStream(through, { sessionId: 's' })
  through.destroy(new Error('reset'))
  const { rawClient } = await webSockets(t, live)
  const raw = await rawClient('malformed')
  raw.write(Buffer.from([0xff, 0xff, 0xff]))
  await once(raw, 'close')
  t.same(errors, [])
  await eventually(() => live.count() === 0, 'both are forgotten')
})

t.test('a connection that cannot be ended is destroyed', async t => {
  const reported = warnings(t)
  const revocations = memoryRevocationStore()
  const live = liveConnections(revocations)
  const calls: string[] = []
  const socket = Object.assign(new EventEmitter(), {
    readyState: 1, close () { throw new Error('cannot close') }, terminate () { calls.push('terminate') }
  }) as unknown as ClosableSocket
  const stream = Object.assign(new EventEmitter(), {
    end () { throw new Error('cannot end') },
    destroy () {
      calls.push('destroy')
      throw new Error('cannot be destroyed')
    }
  }) as unknown as EndableStream
  live.watchSocket(socket, { sessionId: 's' })
  live.watchStream(stream, { sessionId: 's' })
  revocations.revoke({ sessionId: 's', until })
  t.same(calls, ['terminate', 'destroy'])
  await new Promise(resolve => setImmediate(resolve))
  t.same(reported, ['cannot be destroyed'])
})

t.test('each mark ends what it covers, once, and nothing else', async t => {
  const revocations = memoryRevocationStore()
  const live = liveConnections(revocations)
  const ended: string[] = []
  const credentials: Record<string, Credential> = {
    token: { tokenId: 't', sessionId: 'x', subject: 'x' },
    excepted: { tokenId: 't2', sessionId: 'own', subject: 'alice', issuedAt: 10 },
    early: { sessionId: 'early', subject: 'alice', tenant: 'acme', issuedAt: 10 },
    late: { sessionId: 'late', subject: 'alice', issuedAt: 11 },
    refreshed: { sessionId: 'refreshed', subject: 'alice', issuedAt: 11, loggedInAt: 9 },
    elsewhere: { subject: 'bob', tenant: 'umbrella', issuedAt: 1 },
    unnamed: { subject: 'bob', issuedAt: 1 },
    here: { subject: 'bob', tenant: 'acme', issuedAt: 1 },
    otherIssuer: { sessionId: 'x', issuer: 'b' }
  }
  for (const [name, one] of Object.entries(credentials)) live.watch(one, () => { ended.push(name) })
  revocations.revoke({ subject: 'alice', cutoff: 10, except: 'own', until })
  t.same(ended, ['early', 'refreshed'])
  revocations.revoke({ subject: 'bob', tenant: 'acme', cutoff: 10, until })
  t.same(ended.splice(0), ['early', 'refreshed', 'unnamed', 'here'])
  revocations.revoke({ tokenId: 't', until }, { sessionId: 'x', issuer: 'a', until })
  t.same(ended.splice(0), ['token'])
  revocations.revoke({ subject: 'nobody', cutoff: 10, until })
  t.equal(live.count(), 4)
  live.close()
  t.equal(live.count(), 0)
  revocations.revoke({ sessionId: 'late', until })
  t.equal(ended.length, 0)
})

t.test('an "end" that throws or rejects is a warning, and the other connections are ended', async t => {
  const errors = uncaught(t)
  const reported = warnings(t)
  const revocations = memoryRevocationStore()
  const live = liveConnections(revocations)
  let ended = 0
  live.watch({ sessionId: 's' }, () => { throw new Error('first') })
  live.watch({ sessionId: 's' }, async () => { throw new Error('second') })
  live.watch({ sessionId: 's' }, () => { ended++ })
  revocations.revoke({ sessionId: 's', until })
  t.equal(ended, 1)
  live.watch({ sessionId: 's' }, () => { throw new Error('third') })
  await eventually(() => reported.length === 3, 'all are reported')
  t.same(reported, ['first', 'second', 'third'])
  t.same(errors, [])
})

t.test('a credential that was revoked between the request and the watch is ended, one that is forgotten is not', async t => {
  const revocations = memoryRevocationStore()
  const live = liveConnections(revocations)
  let ended = 0
  revocations.revoke({ tokenId: 'revoked', until })
  live.watch({ tokenId: 'revoked' }, () => { ended++ })
  const forget = live.watch({ tokenId: 'gone' }, () => { ended++ })
  forget()
  forget()
  await eventually(() => ended === 1, 'the revoked one is ended')
  revocations.revoke({ tokenId: 'gone', until })
  t.same([ended, live.count()], [1, 0])
})

t.test('while the store fails, it is asked again, and new marks end the connections', async t => {
  const revocations = memoryRevocationStore()
  revocations.revoke({ tokenId: 'revoked before', until })
  let asked = 0
  let down = true
  const live = liveConnections({
    ...revocations,
    check (credential) {
      asked++
      if (down) throw new Error('down')
      return revocations.check(credential)
    }
  })
  const ended: string[] = []
  live.watch({ tokenId: 'revoked before' }, () => { ended.push('before') })
  live.watch({ tokenId: 'revoked now' }, () => { ended.push('now') })
  const forget = live.watch({ tokenId: 'forgotten' }, () => { ended.push('forgotten') })
  await eventually(() => asked >= 4, 'each is asked again')
  t.same(ended, [])
  revocations.revoke({ tokenId: 'revoked now', until })
  t.same(ended, ['now'])
  forget()
  down = false
  await eventually(() => ended.length === 2, 'the store could tell')
  t.same([ended, live.count()], [['now', 'before'], 0])
  const before = asked
  await sleep(400)
  t.equal(asked, before, 'once it could tell, nobody is asked any more')
})

t.test('a wrong option throws a TypeError that names it', async t => {
  const live = liveConnections(memoryRevocationStore())
  for (const credential of [{}, { tenant: 'acme' }, { tokenId: '' }]) {
    t.throws(() => live.watch(credential, () => {}), { name: 'TypeError', message: /^liveConnections: the credential needs/ })
  }
  const { check, onRevoked } = memoryRevocationStore()
  for (const wrong of [undefined, null, {}, { check }, { onRevoked }] as Array<ReturnType<typeof memoryRevocationStore>>) {
    t.throws(() => liveConnections(wrong), { name: 'TypeError', message: /^liveConnections: pass/ })
  }
})
