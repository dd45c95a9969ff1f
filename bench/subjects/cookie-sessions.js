// What cookie sessions of Fastify and Express have in common: a signed id in a cookie, a store with callbacks.
import { createHmac } from 'node:crypto'

/** The signature of an id in a cookie. */
export function signed (id, secret) {
  return `${id}.${createHmac('sha256', secret).update(id).digest('base64').replace(/=+$/, '')}`
}

/** The n-th session, as the middleware stores it. */
export function cookieSession (index) {
  const expires = new Date(Date.now() + 3_600_000)
  return { user: `user-${index % 1000}`, cookie: { originalMaxAge: 3_600_000, maxAge: 3_600_000, expires: expires.toISOString(), httpOnly: true, secure: false, path: '/' } }
}

/** The logout of a cookie session. */
export function cookieSessionRequest (name, value) {
  return { method: 'POST', path: '/logout', headers: { cookie: `${name}=${encodeURIComponent(value)}` }, body: '' }
}

/** A store's calls as promises. */
export function storeCalls (store) {
  const call = name => (...values) => new Promise((resolve, reject) => {
    store[name](...values, (error, value) => error ? reject(error) : resolve(value))
  })
  return { set: call('set'), get: call('get') }
}
