import fastify from 'fastify'
import { once } from 'node:events'
import { get } from 'node:http'
import { connect } from 'node:net'
import t from 'tap'
import { WebSocket, WebSocketServer } from 'ws'
import { liveConnections } from '../../lib/bridges/live-connections.ts'
import type { Credential } from '../../lib/revocation-store.ts'
import { memoryRevocationStore } from '../../lib/revocation-stores/memory.ts'
import { eventually } from '../revocation-stores/follow.ts'

const until = Date.now() + 3_600_000

t.test('a WebSocket whose session is revoked is closed with 3000, others stay open', async t => {
  const revocations = memoryRevocationStore()
  const live = liveConnections(revocations)
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  t.teardown(() => { for (const client of server.clients) client.terminate(); server.close() })
  server.on('connection', (socket, request) => live.watchSocket(socket, { sessionId: request.url?.slice(1) }))
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const open = async (id: string) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/${id}`)
    await once(socket, 'open')
    return socket
  }
  const [one, two] = [await open('one'), await open('two')]
  await eventually(() => live.count() === 2, 'both are watched')
  revocations.revoke({ sessionId: 'one', until })
  const [code, reason] = await once(one, 'close')
  t.same([code, String(reason)], [3000, 'revoked'])
  t.equal(two.readyState, WebSocket.OPEN)
  two.close()
  await eventually(() => live.count() === 0, 'what closed by itself is forgotten')

  const raw = connect(port, '127.0.0.1')
  raw.write('GET /deaf HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n')
  await eventually(() => live.count() === 1, 'it is watched')
  raw.resume()
  raw.on('error', () => {})
  const revoked = Date.now()
  revocations.revoke({ sessionId: 'deaf', until })
  await once(raw, 'close')
  t.ok(Date.now() - revoked < 10_000, 'a client that does not follow is cut, long before the library would')
})

t.test('a stream of events is ended', async t => {
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

t.test('each mark ends what it covers, once, and nothing else', async t => {
  const revocations = memoryRevocationStore()
  const live = liveConnections(revocations)
  const ended: string[] = []
  const facts: Record<string, Credential> = {
    token: { tokenId: 't', sessionId: 'x', subject: 'x' },
    kept: { tokenId: 't2', sessionId: 'kept', subject: 'alice', issuedAt: 10 },
    early: { sessionId: 'early', subject: 'alice', tenant: 'a', issuedAt: 10 },
    late: { sessionId: 'late', subject: 'alice', issuedAt: 11 },
    elsewhere: { subject: 'bob', tenant: 'b', issuedAt: 1 },
    nowhere: { subject: 'bob', issuedAt: 1 },
    here: { subject: 'bob', tenant: 'a', issuedAt: 1 }
  }
  for (const [name, one] of Object.entries(facts)) live.watch(one, () => { ended.push(name) })
  revocations.revoke({ subject: 'alice', cutoff: 10, except: 'kept', until })
  t.same(ended, ['early'])
  revocations.revoke({ subject: 'bob', tenant: 'a', cutoff: 10, until })
  t.same(ended, ['early', 'here'])
  revocations.revoke({ tokenId: 't', until }, { sessionId: 'x', until })
  t.same(ended, ['early', 'here', 'token'])
  revocations.revoke({ subject: 'nobody', cutoff: 10, until })
  t.equal(live.count(), 4)
  live.close()
  revocations.revoke({ sessionId: 'late', until })
  t.equal(ended.length, 3)
})

t.test('what was revoked between the request and the watch is ended too, and what is forgotten is left alone', async t => {
  const revocations = memoryRevocationStore()
  const live = liveConnections(revocations)
  let ended = 0
  revocations.revoke({ tokenId: 'dead', until })
  live.watch({ tokenId: 'dead' }, () => { ended++ })
  const forget = live.watch({ tokenId: 'gone' }, () => { ended++ })
  forget()
  forget()
  await eventually(() => ended === 1, 'the dead one is ended')
  revocations.revoke({ tokenId: 'gone', until })
  t.same([ended, live.count()], [1, 0])

  const unsure = liveConnections({ ...revocations, check () { throw new Error('down') } })
  unsure.watch({ tokenId: 'unsure' }, () => { ended++ })
  await new Promise(resolve => setTimeout(resolve, 5))
  t.equal(ended, 1, 'it was let in, and a mark will come by the feed')
  revocations.revoke({ tokenId: 'unsure', until })
  t.equal(ended, 2)
  t.throws(() => unsure.watch({ tenant: 'a' }, () => {}), TypeError)
})
