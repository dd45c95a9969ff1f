import Fastify from 'fastify'
import t from 'tap'
import { onward, redirect } from '../../../lib/internal/openid/onward.ts'

const request = { url: 'https://login.example/logout?state=x', endpoint: 'https://login.example/logout', fields: { state: 'x' } }

async function sent (next: string | typeof request, headers: Record<string, string>, maxUrlLength = 2000) {
  const app = Fastify()
  const sendOn = onward(maxUrlLength)
  app.addHook('onRequest', async (_request, reply) => { reply.serializer(() => 'rewritten') })
  app.post('/', async (request, reply) => sendOn(request, reply, next))
  const { statusCode, headers: { location, 'hx-redirect': htmx, 'content-type': type }, body } = await app.inject({
    method: 'POST', url: '/', headers
  })
  return { statusCode, location, htmx, type, body }
}

t.test('each kind of caller goes on as it can: to the host, and to the provider', async t => {
  const none = { location: undefined, htmx: undefined, type: undefined, body: '' }
  const type = 'application/json; charset=utf-8'
  for (const [next, url] of [['/bye', '/bye'], [request, request.url]] as const) {
    t.strictSame(await sent(next, { accept: 'text/html' }), { ...none, statusCode: 303, location: url })
    t.strictSame(await sent(next, { 'hx-request': 'true' }), { ...none, statusCode: 204, htmx: url })
    t.strictSame(await sent(next, { accept: 'application/json' }), {
      ...none, statusCode: 200, type, body: JSON.stringify({ logout_url: url })
    })
  }
})

t.test('a logout request that is longer than allowed is a form, and a URL of the host never is', async t => {
  const { length } = request.url
  t.equal((await sent(request, { accept: 'text/html' }, length)).statusCode, 303)
  const page = await sent(request, { accept: 'text/html' }, length - 1)
  t.match(page, { statusCode: 200, location: undefined, type: 'text/html; charset=utf-8' })
  t.match(page.body, '<form method="post" action="https://login.example/logout">')
  t.match(await sent(request, { accept: 'application/json' }, length - 1), {
    body: JSON.stringify({ logout_url: request.endpoint, method: 'post', fields: request.fields })
  })
  t.equal((await sent('/bye', { accept: 'text/html' }, 0)).location, '/bye')
})

t.test('a redirect has no body and no type', async t => {
  const app = Fastify()
  app.get('/', async (_request, reply) => redirect(reply.type('text/html'), '/bye'))
  const { statusCode, headers, body } = await app.inject('/')
  t.strictSame([statusCode, headers.location, headers['content-type'], body], [303, '/bye', undefined, ''])
})
