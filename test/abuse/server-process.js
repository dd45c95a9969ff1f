// The example server with its stores on Redis, and a route behind a guard, for abuse.ts to load. It has no port of its own choice.
import { Redis } from 'ioredis'
import { revocationGuard } from 'fastify-logout'
import { redisRevocationStore } from 'fastify-logout/revocation-stores/redis'
import { build } from '../../examples/server.js'
import { chosenStores } from '../../examples/stores.js'

const stores = await chosenStores(['--store', 'redis'])
const options = { logger: { level: 'fatal' }, requestTimeout: 2000, http: { headersTimeout: 2000, connectionsCheckingInterval: 500 } }
// Enough for the status to change while the limit is not reached yet, and little enough to reach it.
const server = await build(options, undefined, { ...stores, rateLimit: { ...stores.rateLimit, max: 500 } })

const retryStrategy = (/** @type {number} */ attempt) => Math.min(attempt * 100, 2000)
const redis = new Redis(process.env.REDIS_URL ?? '', { maxRetriesPerRequest: 1, socketTimeout: 5000, retryStrategy })
redis.on('error', () => {})
const revocations = redisRevocationStore(redis)
await revocations.revoke({ tokenId: 'dead', until: Date.now() + 86_400_000 })
await server.app.register(async (guarded) => {
  await guarded.register(revocationGuard, { revocations, credential: request => ({ tokenId: String(request.headers['token-id']) }) })
  guarded.get('/guarded', async () => 'in')
})
server.app.addHook('onClose', async () => redis.disconnect())
const address = await server.app.listen({ port: 0, host: '127.0.0.1' })

function heap () {
  for (let i = 0; i < 3; i++) globalThis.gc?.()
  const { heapUsed, external, rss } = process.memoryUsage()
  return { heap: heapUsed + external, rss }
}

process.on('message', (/** @type {string} */ question) => {
  if (question === 'heap') process.send?.(heap())
  else server.app.close().then(() => process.disconnect())
})
process.send?.({
  address,
  native: server.kratos.token,
  signingHub: server.signingHub.token,
  demo: server.demoPage.token,
  tenantToken: server.tenantStatus.tenantToken,
  tenantUser: server.tenantStatus.token
})
