import t from 'tap'
import { actTogether } from '../../../lib/internal/databases/redis-batch.ts'
import { redisScripts, type IoredisLike } from '../../../lib/internal/databases/redis.ts'
import { connectRedisClients } from '../../servers/redis-clients.ts'
import { withRedis } from '../../servers/redis.ts'
import { freshPrefix } from '../../session-stores/redis-session.ts'

const echoLua = `
local function act (key, first, second)
  if first == 'raise' then return redis.call(second) end
  if first == 'read' then return { redis.call('HGET', key, second) } end
  return first ~= 'nothing' and { key, first, second }
end
`

t.test('calls of one turn are one script', t => withRedis(t, async ({ url }) => {
  const clients = await connectRedisClients(url)
  t.teardown(clients.end)
  const prefix = freshPrefix()
  const key = (name: string) => `${prefix}:${name}`
  await clients.ioredis.set(key('text'), 'x')
  await clients.ioredis.hset(key('hash'), 'field', 'value')

  for (const [name, client] of clients.named) {
    await t.test(`through ${name}`, async t => {
      const act = actTogether(redisScripts(client, 'test'), echoLua)
      const call = (name: string, ...values: string[]) => act({ key: key(name), values })

      const replies = await Promise.all([
        call('a', '1', '2'), call('b', 'nothing', ''), call('a', '3', ''), call('hash', 'read', 'field'), call('hash', 'read', 'other')
      ])
      t.strictSame(replies, [[key('a'), '1', '2'], null, [key('a'), '3', ''], ['value'], [null]], 'each has its own reply')

      const outcomes = await Promise.allSettled([call('a', '1', '2'), call('text', 'read', 'field'), call('hash', 'read', 'field')])
      t.match(outcomes, [{ value: [key('a'), '1', '2'] }, { reason: { message: /^WRONGTYPE / } }, { value: ['value'] }],
        'a key of another type rejects its own call')

      const failed = await Promise.allSettled([call('a', '1', '2'), call('a', 'raise', 'NOSUCHCOMMAND')])
      for (const outcome of failed) t.match(outcome, { reason: { message: /^ERR / } }, 'another error is an error of the command')

      const many = Array.from({ length: 250 }, (_, index) => call('a', `${index}`, 'x'))
      t.strictSame((await Promise.all(many)).map(reply => reply?.[1]), many.map((_, index) => `${index}`))
    })
  }
}))

t.test('a reply with too few answers, or none, is a rejection of every call', async t => {
  for (const reply of [[], [['one']], null, 'text', 1]) {
    const client: IoredisLike = { evalsha: async () => reply, eval: async () => reply }
    const act = actTogether(redisScripts(client, 'test'), echoLua)
    const outcomes = await Promise.allSettled([act({ key: 'a', values: ['1'] }), act({ key: 'b', values: ['2'] })])
    t.strictSame(outcomes.map(({ status }) => status), ['rejected', 'rejected'])
  }
})
