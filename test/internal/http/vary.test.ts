import Fastify from 'fastify'
import t from 'tap'
import { addVary } from '../../../lib/internal/http/vary.ts'

t.test('a field is added to Vary once, and the fields of the host stay', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.get<{ Querystring: { vary?: string } }>('/', async ({ query }, reply) => {
    if (query.vary !== undefined) reply.header('vary', query.vary.split('|'))
    addVary(reply, 'Accept')
    addVary(reply, 'Accept')
    return {}
  })
  for (const [given, expected] of [
    [undefined, 'Accept'], ['Origin', 'Origin, Accept'], ['accept', 'accept'], ['Origin,ACCEPT ,Cookie', 'Origin,ACCEPT ,Cookie'],
    ['*', '*'],
    ['Accept-Encoding', 'Accept-Encoding, Accept'], ['Origin|Cookie', 'Origin,Cookie, Accept']
  ]) {
    const { headers } = await app.inject({ url: '/', query: given === undefined ? {} : { vary: given } })
    t.equal(String(headers['vary']), expected)
  }
})
