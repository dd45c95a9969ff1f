import Fastify from 'fastify'
import t from 'tap'
import { bodyLimit, formOf, mediaTypes, readForms } from '../../../lib/internal/http/form.ts'

/** A server that returns what it reads. */
function reader () {
  const app = Fastify()
  app.removeAllContentTypeParsers()
  readForms(app)
  app.post('/', { bodyLimit }, async request => {
    const form = formOf(request)
    return form === 'malformed' ? form : [...form]
  })
  return async (payload: string | Buffer, headers: Record<string, string> = {}) => {
    const { body } = await app.inject({ method: 'POST', url: '/', payload, headers: { 'content-type': mediaTypes[0], ...headers } })
    return body === 'malformed' ? body : JSON.parse(body)
  }
}

t.test('parameters are decoded, and keep every value in order', async t => {
  const read = reader()
  t.strictSame(await read('a=1&b=x+y&a=%32&%61=3'), [['a', ['1', '2', '3']], ['b', ['x y']]])
  t.strictSame(await read('a=b=c&d&=e&&f=%E2%82%AC€'), [['a', ['b=c']], ['d', ['']], ['', ['e']], ['f', ['€€']]])
  t.strictSame(await read('__proto__=1&constructor=2'), [['__proto__', ['1']], ['constructor', ['2']]])
  t.strictSame(await read(''), [])
})

t.test('wrong escapes, wrong UTF-8 and encoded bodies are malformed', async t => {
  const read = reader()
  for (const body of ['a=%', '%zz=1', 'a=1&b=%C3%28', Buffer.from([0x61, 0x3d, 0xff])]) t.equal(await read(body), 'malformed', String(body))
  t.equal(await read('a=1', { 'content-encoding': 'gzip' }), 'malformed')
})

t.test('the body of another media type has no parameters, in whatever way the type is written', async t => {
  const read = reader()
  for (const type of ['application/json', 'text/plain', 'rubbish', ';', '']) {
    t.strictSame(await read('a=1', { 'content-type': type }), [], type)
  }
  for (const type of ['Application/X-WWW-Form-Urlencoded', 'application/x-www-form-urlencoded ; charset=utf-8']) {
    t.strictSame(await read('a=1', { 'content-type': type }), [['a', ['1']]], type)
  }
})
