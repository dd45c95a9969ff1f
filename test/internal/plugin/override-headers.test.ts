import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { overrideHeaders } from '../../../lib/internal/plugin/override-headers.ts'

/** What a handler sees of the headers, when the hooks before it have had their way. */
async function headersSeen (t: Test, before: object | undefined, after: object | undefined) {
  const app = Fastify()
  t.teardown(() => app.close())
  app.addHook('onRequest', async request => { if (before !== undefined) request.headers = before as typeof request.headers })
  app.addHook('onRequest', async request => { overrideHeaders(request, { 'content-type': 'text/plain', accept: undefined }) })
  app.addHook('onRequest', async request => { if (after !== undefined) request.headers = after as typeof request.headers })
  app.get('/', async ({ headers }) => ({ type: headers['content-type'], accept: headers.accept ?? 'none', mine: headers['x-mine'] }))
  return (await app.inject({ url: '/', headers: { 'content-type': 'nonsense', accept: '*/*' } })).json()
}

t.test('later hooks and parsers see the changed headers, also if the host replaces request.headers', async t => {
  const changed = { type: 'text/plain', accept: 'none' }
  t.strictSame(await headersSeen(t, undefined, undefined), changed)
  t.strictSame(await headersSeen(t, { 'x-mine': '1' }, undefined), { ...changed, mine: '1' })
  t.strictSame(await headersSeen(t, { 'content-type': 'mine' }, undefined), changed, 'even what the host had set before')
  t.strictSame(await headersSeen(t, undefined, { 'x-mine': '2' }), { ...changed, mine: '2' })
  t.strictSame(await headersSeen(t, { 'x-mine': '1' }, { 'x-mine': '2' }), { ...changed, mine: '2' })
})
