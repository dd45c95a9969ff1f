// A small transmitter of security events, for the example beside it and for tests. It signs events with jose, pushes them
// (RFC 8935), and hands them out to polls (RFC 8936). Real ones keep their events in a database.
import Fastify from 'fastify'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { randomUUID } from 'node:crypto'

const base = 'https://schemas.openid.net/secevent/'
export const sessionRevoked = `${base}caep/event-type/session-revoked`
export const verification = `${base}ssf/event-type/verification`

const batch = 16

/**
 * @typedef {object} EventToSend
 * @property {object} subject a subject identifier (RFC 9493)
 * @property {string} [type]
 * @property {object} [event]
 * @property {string} [jti]
 * @property {number} [iat] seconds
 */

/**
 * @param {{ audience: string, authorization?: string, longPoll?: number }} options `longPoll`: how long a poll may wait, in milliseconds
 */
export async function startTransmitter ({ audience, authorization = 'Bearer poll-secret', longPoll = 10_000 }) {
  const { privateKey, publicKey } = await generateKeyPair('RS256')
  const jwk = { ...await exportJWK(publicKey), kid: 'transmitter-1', alg: 'RS256', use: 'sig' }
  const app = Fastify()

  /** Events that were not acknowledged yet, by their `jti`. @type {Map<string, string>} */
  const waiting = new Map()
  /** @type {Map<string, { err: string, description: string }>} */
  const refused = new Map()
  /** @type {string[]} */
  const acknowledged = []
  /** @type {Set<() => void>} */
  const polls = new Set()

  app.get('/keys', () => ({ keys: [jwk] }))

  app.post('/poll', async (request, reply) => {
    if (request.headers.authorization !== authorization) return reply.code(401).send()
    const { maxEvents = batch, returnImmediately = false, ack = [], setErrs = {} } = /** @type {any} */ (request.body)
    for (const jti of ack) if (waiting.delete(jti)) acknowledged.push(jti)
    for (const [jti, problem] of Object.entries(setErrs)) if (waiting.delete(jti)) refused.set(jti, problem)
    if (waiting.size === 0 && maxEvents > 0 && !returnImmediately) await news()
    const sets = Object.fromEntries([...waiting].slice(0, Math.min(maxEvents, batch)))
    return { sets, ...(waiting.size > Object.keys(sets).length && { moreAvailable: true }) }
  })

  /** Waits for the next event. */
  function news () {
    return /** @type {Promise<void>} */ (new Promise(resolve => {
      const done = () => {
        clearTimeout(timer)
        polls.delete(done)
        resolve()
      }
      const timer = setTimeout(done, longPoll)
      polls.add(done)
    }))
  }

  app.addHook('preClose', () => { for (const done of polls) done() })
  const issuer = await app.listen({ port: 0, host: '127.0.0.1' })

  /** Signs a token, with whatever header and claims. @param {object} claims @param {object} [header] */
  function sign (claims, header = {}) {
    return new SignJWT({ iss: issuer, aud: audience, ...claims })
      .setProtectedHeader({ alg: 'RS256', kid: jwk.kid, typ: 'secevent+jwt', ...header }).sign(privateKey)
  }

  /** A security event token. @param {EventToSend} event */
  function eventToken (
    { subject, type = sessionRevoked, event = { initiating_entity: 'policy' }, jti = randomUUID(), iat = Math.floor(Date.now() / 1000) }
  ) {
    return sign({ jti, iat, sub_id: subject, events: { [type]: event } })
  }

  return {
    issuer,
    jwksUri: `${issuer}/keys`,
    pollUrl: `${issuer}/poll`,
    authorization,
    waiting,
    refused,
    acknowledged,
    sign,
    eventToken,

    /** Keeps an event for polls. Resolves its `jti`. @param {EventToSend} event */
    async keep ({ jti = randomUUID(), ...event }) {
      waiting.set(jti, await eventToken({ ...event, jti }))
      for (const done of polls) done()
      return jti
    },

    /** Pushes a token to a receiver. Resolves the status. @param {string} url @param {string} token @param {string} [credential] */
    async push (url, token, credential) {
      const { status } = await fetch(url, {
        method: 'POST',
        headers: {
          'content-type': 'application/secevent+jwt',
          accept: 'application/json',
          ...(credential !== undefined && { authorization: credential })
        },
        body: token
      })
      return status
    },

    close: () => app.close()
  }
}
