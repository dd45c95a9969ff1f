import Fastify from 'fastify'
import t, { type Test } from 'tap'
import type { KratosError } from '../../../lib/internal/kratos/error.ts'
import { errorResponder } from '../../../lib/internal/kratos/error-page.ts'

async function refused (t: Test, page: string | undefined, error: KratosError, headers: Record<string, string> = {}) {
  const app = Fastify()
  t.teardown(() => app.close())
  const refuse = errorResponder(page === undefined ? undefined : new URL(page))
  app.get('/', (request, reply) => { refuse(request, reply, error) })
  const { statusCode, headers: { location, 'content-type': type }, body } = await app.inject({ url: '/', headers })
  return { statusCode, location, type, body }
}

const error = { status: 403, reason: 'A reason with "quotes" & more.' }

t.test('a browser is sent to the page, with the name of the error and a sentence', async t => {
  const { location, ...rest } = await refused(t, 'https://app.example/error?lang=en#there', { ...error, id: 'an_id' })
  t.strictSame(rest, { statusCode: 303, type: undefined, body: '' })
  const url = new URL(String(location))
  t.strictSame([...url.searchParams], [['lang', 'en'], ['error', 'an_id'], ['error_description', error.reason]])
  t.strictSame([url.origin, url.pathname, url.hash], ['https://app.example', '/error', '#there'])
})

t.test('an error without an id is named by its status', async t => {
  for (const [status, name] of [[403, 'forbidden'], [418, 'i_m_a_teapot'], [500, 'internal_server_error'], [499, '499']] as const) {
    const { location } = await refused(t, 'https://app.example/error', { status })
    t.equal(new URL(String(location)).searchParams.get('error'), name)
  }
})

t.test('the sentence is the description, the reason, or the message', async t => {
  const sentence = async (more: Partial<KratosError>) => {
    const { location } = await refused(t, 'https://app.example/', { status: 400, ...more })
    return new URL(String(location)).searchParams.get('error_description')
  }
  t.equal(await sentence({ description: 'one', reason: 'two', message: 'three' }), 'one')
  t.equal(await sentence({ reason: 'two', message: 'three' }), 'two')
  t.equal(await sentence({ message: 'three' }), 'three')
  t.equal(await sentence({}), 'The request was malformed or contained invalid parameters')
})

t.test('a JSON caller gets the JSON error, and so do all callers without a page', async t => {
  for (const [page, headers] of [['https://app.example/', { accept: 'application/json' }], [undefined, { accept: 'text/html' }]] as const) {
    t.match(await refused(t, page, error, headers), { statusCode: 403, location: undefined, type: 'application/json' })
  }
})

t.test('requests do not change the URL of the page', async t => {
  const page = new URL('https://app.example/?error=old')
  const refuse = errorResponder(page)
  const app = Fastify()
  t.teardown(() => app.close())
  app.get('/:status', (request, reply) => { refuse(request, reply, { status: Number((request.params as { status: string }).status) }) })
  for (const status of [403, 404]) await app.inject(`/${status}`)
  t.equal(page.href, 'https://app.example/?error=old')
})
