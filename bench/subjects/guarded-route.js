// A route of the host's behind its authentication (a fast-jwt verifier with its cache), with and without the guard.
import { createVerifier } from 'fast-jwt'
import Fastify from 'fastify'
import { revocationGuard, revocationReplica } from '../../dist/index.js'
import { openClient } from './clients.js'
import { revocationStore } from './library-stores.js'
import { jwt, userToken } from './signinghub-host.js'
import { tokenAt } from './tokens.js'

const callers = 500
const minute = 60_000
const day = 86_400_000

export default async function ({ guard, store, marks }) {
  const app = Fastify()
  const verify = createVerifier({ key: jwt.key, algorithms: ['HS256'], allowedIss: jwt.issuer, allowedAud: jwt.audience, cache: true })
  app.decorateRequest('user', null)
  app.addHook('onRequest', (request, _reply, done) => {
    request.user = verify(request.headers.authorization.slice(7))
    done()
  })
  if (guarding[guard] === undefined) app.decorate('revoked', deadTokens(marks))
  if (guard === 'map') guardByHand(app)
  if (guard === 'not before') guardByCutoff(app, marks)
  if (guard === 'round trip' || guard === 'cutoff') guardByStore(app, await openClient(store), guard === 'cutoff' ? minute : 0)
  const revocations = await guarding[guard]?.(store, marks)
  if (revocations !== undefined) {
    await app.register(revocationGuard, {
      revocations,
      credential: ({ user }) => ({ tokenId: user.jti, subject: user.sub, issuedAt: user.iat * 1000 })
    })
  }
  app.get('/me', (request, reply) => reply.send({ user: request.user.sub }))

  const tokens = Array.from({ length: callers }, (_, index) => userToken(index))
  return {
    app,
    status: 200,
    request: index => ({ method: 'GET', path: '/me', headers: { authorization: `Bearer ${tokens[index % callers]}` } }),
    run: async () => guard === 'memory' || guard === 'replica' ? { bytesPerMark: await bytesPerMark(() => guarding[guard](store, marks), marks) } : {}
  }
}

/**
 * What a team would write: a Map of revoked ids with their instants, and a hook. It forgets nothing by itself. The host
 * without a guard has such a Map too: how fast V8 makes a process depends on what was allocated in it.
 */
function guardByHand (app) {
  app.addHook('preHandler', (request, reply, done) => {
    if (app.revoked.get(request.user.jti) > Date.now()) reply.code(401).send()
    else done()
  })
}

/**
 * Keycloak's "not before": tokens of a user that were issued before an instant are refused, and the server pushes these instants
 * to its applications. One token cannot be revoked this way.
 */
function guardByCutoff (app, users) {
  const until = Date.now() - day
  const cutoffs = new Map(Array.from({ length: users }, (_, index) => [`user-${index}`, until]))
  app.addHook('preHandler', (request, reply, done) => {
    if (request.user.iat * 1000 < (cutoffs.get(request.user.sub) ?? 0)) reply.code(401).send()
    else done()
  })
}

/**
 * The store is asked about each token, once in so long. Always is what Keycloak does when it introspects a token, and
 * SuperTokens with `checkDatabase`. Once in a minute is what session claims of SuperTokens with a `maxAgeInSeconds` do: the
 * token says when it was last checked, and what is revoked lives on until that is over. Here a Map says it, as the load does
 * not take new tokens; to find it there takes no longer than a claim.
 */
function guardByStore (app, redis, every) {
  const checked = new Map()
  app.addHook('preHandler', async (request, reply) => {
    const { jti } = request.user
    const now = Date.now()
    if (every > 0 && checked.get(jti) > now - every) return
    if (await redis.exists(`revoked:${jti}`) === 1) return reply.code(401).send()
    checked.set(jti, now)
  })
}

function deadTokens (count) {
  const until = Date.now() + day
  return new Map(Array.from({ length: count }, (_, index) => [deadToken(index), until]))
}

const guarding = {
  memory: async (_store, marks) => {
    const revocations = await revocationStore({ kind: 'memory' })
    await fill(revocations, marks, 1)
    return revocations
  },

  store: async (store, marks) => {
    const revocations = await revocationStore(store)
    await fill(revocations, marks, 20)
    return revocations
  },

  replica: async (store, marks) => {
    const revocations = revocationReplica(await guarding.store(store, marks))
    await revocations.start()
    while (revocations.staleness() > 1000) await new Promise(resolve => setTimeout(resolve, 100))
    return revocations
  }
}

function deadToken (index) {
  return `dead ${tokenAt(index)}`
}

/** Puts marks in. */
async function fill (revocations, count, parallel) {
  const until = Date.now() + day
  const batch = 1000
  for (let from = 0; from < count; from += batch * parallel) {
    await Promise.all(Array.from({ length: parallel }, (_, lane) => {
      const start = from + lane * batch
      const marks = Array.from({ length: Math.max(0, Math.min(batch, count - start)) }, (_, index) => ({ tokenId: deadToken(start + index), until }))
      return marks.length > 0 && revocations.revoke(...marks)
    }))
  }
}

/** What another one of these takes in memory. After the rounds: V8 forgets what it compiled when garbage is collected by force. */
async function bytesPerMark (another, marks) {
  const before = used()
  const revocations = await another()
  const bytes = (used() - before) / marks
  await revocations.close?.()
  return bytes
}

function used () {
  globalThis.gc()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}
