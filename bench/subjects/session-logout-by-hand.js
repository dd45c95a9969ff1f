// What a good team would write for its own host: requests of other sites are refused, then the session ends.
import { sessionHost } from './session-logout-hosts.js'

export default async function (parameters) {
  const { byHand, sessions, ...host } = await sessionHost(parameters)
  host.app.post('/logout', {
    onRequest: (request, reply, done) => {
      const { 'sec-fetch-site': site = 'same-origin', origin = `http://${request.host}` } = request.headers
      if (site === 'same-origin' && origin === `http://${request.host}`) done()
      else reply.code(403).send({ error: 'another site' })
    }
  }, async (request, reply) => {
    await byHand(request, reply)
    return reply.code(204).header('cache-control', 'no-store').send()
  })
  return host
}
