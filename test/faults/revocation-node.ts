import fastifyWebsocket from '@fastify/websocket'
import fastify, { type FastifyRequest } from 'fastify'
import { Redis } from 'ioredis'
import { createPool } from 'mysql2/promise'
import pg from 'pg'
import { liveConnections } from '../../lib/bridges/live-connections.ts'
import { revocationGuard } from '../../lib/guards/revocation.ts'
import { revocationReplica } from '../../lib/internal/revocation/replica.ts'
import type { FollowableRevocationStore } from '../../lib/revocation-store.ts'
import { mysqlRevocationStore } from '../../lib/revocation-stores/mysql.ts'
import { postgresRevocationStore } from '../../lib/revocation-stores/postgres.ts'
import { redisRevocationStore } from '../../lib/revocation-stores/redis.ts'

// One node of a host: routes behind a guard over a replica, and connections that stay open. The parent hears the address.
const [kind = '', url = ''] = process.argv.slice(2)

function connected (): FollowableRevocationStore {
  if (kind === 'redis') {
    const redis = new Redis(url)
    redis.on('error', () => {})
    return redisRevocationStore(redis)
  }
  if (kind === 'mysql') return mysqlRevocationStore(createPool({ uri: url, connectTimeout: 1000 }), { timeout: 2000 })
  const pool = new pg.Pool({ connectionString: url, connectionTimeoutMillis: 1000, query_timeout: 2000 })
  pool.on('error', () => {})
  return postgresRevocationStore(pool)
}

const revocations = revocationReplica(connected())
await revocations.start()

const live = liveConnections(revocations)
const factsOf = ({ headers: { facts } }: FastifyRequest) => typeof facts === 'string' ? JSON.parse(facts) : undefined

const app = fastify()
await app.register(fastifyWebsocket)
await app.register(revocationGuard, {
  revocations,
  timeout: 500,
  credential: factsOf
})
app.get('/', async () => 'in')
app.get('/allow', { config: { revocation: 'allow' } }, async () => 'in')
app.get('/open', { config: { revocation: false } }, async () => 'in')
app.get('/events', async (request, reply) => {
  reply.hijack()
  reply.raw.writeHead(200, { 'content-type': 'text/event-stream' })
  live.watchStream(reply.raw, factsOf(request))
  reply.raw.write('data: open\n\n')
})
app.get('/socket', { websocket: true }, (socket, request) => {
  live.watchSocket(socket, factsOf(request))
  socket.send('open')
})
process.send?.(await app.listen({ port: 0, host: '127.0.0.1' }))
