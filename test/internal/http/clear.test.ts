import Fastify from 'fastify'
import t from 'tap'
import { clearing, type ClearOptions } from '../../../lib/internal/http/clear.ts'

async function headersAfter (options: ClearOptions | undefined) {
  const clear = clearing(options, 'aPlugin')
  const app = Fastify()
  app.get('/cookies', (_request, reply) => { clear.cookies(reply); reply.send() })
  app.get('/site-data', (_request, reply) => { clear.siteData(reply); reply.send() })
  const { headers: { 'set-cookie': cookies } } = await app.inject('/cookies')
  const { headers: { 'clear-site-data': siteData, 'set-cookie': none } } = await app.inject('/site-data')
  t.equal(none, undefined)
  return { cookies: [cookies ?? []].flat(), siteData }
}

t.test('the cookies are removed, and the site data are named', async t => {
  const { cookies, siteData } = await headersAfter({
    cookies: [{ name: 'theme', path: '/app' }, { name: 'seen' }], siteData: ['cache', 'storage']
  })
  t.equal(siteData, '"cache", "storage"')
  t.match(cookies, [/^theme=; .*Path=\/app/, /^seen=; .*Path=\//])
  t.equal(cookies.length, 2)
})

t.test('without options nothing is cleared', async t => {
  for (const options of [undefined, {}, { cookies: undefined, siteData: undefined }, { cookies: [], siteData: [] }]) {
    t.strictSame(await headersAfter(options), { cookies: [], siteData: undefined })
  }
})

t.test('a wrong option is a TypeError that names it', async t => {
  for (const [options, message] of [
    [null, 'option "clear" must be an object'], [['sid'], 'option "clear" must be an object'],
    [{ cookies: {} }, 'option "clear.cookies" must be a list'], [{ cookies: [{ name: 'a b' }] }, 'option "clear.cookies" must have a name'],
    [{ siteData: 'cache' }, 'option "clear.siteData" must be a list'], [{ siteData: ['all'] }, 'option "clear.siteData" must be a list']
  ] as const) {
    t.throws(() => clearing(options as never, 'aPlugin'), { name: 'TypeError', message: `aPlugin: ${message}` })
  }
})
