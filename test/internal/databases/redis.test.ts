import { Buffer } from 'node:buffer'
import t from 'tap'
import { keyPrefix, listOf, numberOf, redisScripts, replyOf, textOf, type IoredisLike, type RedisClient } from '../../../lib/internal/databases/redis.ts'
import { connectOddRedisClients, connectRedisClients } from '../../servers/redis-clients.ts'
import { withRedis } from '../../servers/redis.ts'

const everyType = "return { 'text', 7, -1, '', false, { 'in', { 'a', 'list' } }, 'ä😀', '1.5' }"
const expected = ['text', '7', '-1', '', null, ['in', ['a', 'list']], 'ä😀', '1.5']

t.test('a script has the same reply through every client, whatever its options', t => withRedis(t, async ({ url }) => {
  const clients = [await connectRedisClients(url), await connectOddRedisClients(url)]
  t.teardown(() => { for (const { end } of clients) end() })
  const named = clients.flatMap(({ named }) => named)
  t.ok(named.length > 10)
  for (const [name, client] of named) {
    const script = redisScripts(client, 'test')
    t.strictSame(await script(everyType)(['key'], 'value'), expected, name)
    t.strictSame(await script("return redis.status_reply('fine')")(['key']), 'fine', `${name}: a status`)
    t.strictSame(await script('redis.setresp(3); return { true, false, { double = 1.5 } }')(['key']), ['1', '0', '1.5'], `${name}: types of RESP 3`)
    t.strictSame(await script("redis.setresp(3); return { map = { a = 'b' } }")(['key']), ['a', 'b'], `${name}: a map`)
    t.strictSame(await script('redis.setresp(3); return { set = { a = true } }')(['key']), ['a'], `${name}: a set`)
    await t.rejects(script("return redis.error_reply('BUSYKEY no')")(['key']), { message: 'BUSYKEY no' }, `${name}: an error`)
    await t.rejects(script("return { 'a', { err = 'WRONGTYPE in a list' } }")(['key']), { message: /WRONGTYPE in a list/ }, `${name}: an error in a list`)
  }
}))

t.test('a reply is read whatever the client makes of it', async t => {
  t.equal(replyOf('text'), 'text')
  t.equal(replyOf(null), null)
  t.equal(replyOf(7), '7')
  t.equal(replyOf(7n), '7')
  t.equal(replyOf(true), '1')
  t.equal(replyOf(false), '0')
  t.equal(replyOf(Object('verbatim')), 'verbatim')
  t.equal(replyOf(Buffer.from('ä')), 'ä')
  t.equal(replyOf(new Uint8Array(Buffer.from('xxäxx')).subarray(2, 4)), 'ä')
  t.strictSame(replyOf([1, [Buffer.from('a'), null]]), ['1', ['a', null]])
  t.strictSame(replyOf(new Set([1, 'a'])), ['1', 'a'])
  t.strictSame(replyOf(new Map<unknown, unknown>([['a', 1], [Buffer.from('b'), [2, 3]]])), ['a', '1', 'b', ['2', '3']])
  t.strictSame(replyOf({ a: 1, b: [2, { c: 3 }] }), ['a', '1', 'b', ['2', ['c', '3']]])
  t.throws(() => replyOf(['a', new Error('WRONGTYPE')]), { message: 'WRONGTYPE' })
  for (const strange of [undefined, () => {}, Symbol('s')]) t.throws(() => replyOf([strange]), { name: 'TypeError', message: /cannot be read/ })
})

t.test('a reply of another form than expected is an error, so that it is never taken for an answer', async t => {
  t.equal(textOf(''), '')
  for (const reply of [null, undefined, [], ['a']]) t.throws(() => textOf(reply), { name: 'TypeError', message: /a text was expected/ })
  t.equal(numberOf('-1.5'), -1.5)
  t.equal(numberOf('0'), 0)
  for (const reply of [null, undefined, [], ['1'], '', ' ', 'one']) t.throws(() => numberOf(reply), { name: 'TypeError', message: /a number was expected/ })
  t.strictSame(listOf(['a']), ['a'])
  for (const reply of [null, undefined, '', 'a']) t.throws(() => listOf(reply), { name: 'TypeError', message: /a list was expected/ })
  t.throws(() => listOf(undefined), /the reply is nothing where/)
  t.throws(() => listOf('a'), /the reply is a text where/)
  t.throws(() => textOf([]), /the reply is a list where/)
})

t.test('a script that the server does not know is sent whole, once', async t => {
  const sent: string[] = []
  const client = {
    evalsha: async (digest: string, count: number, ...rest: string[]) => { sent.push(`${digest} ${count} ${rest.join()}`); throw new Error('NOSCRIPT No matching script.') },
    eval: async (lua: string, count: number, ...rest: string[]) => { sent.push(`${lua} ${count} ${rest.join()}`); return 1 }
  }
  t.equal(await redisScripts(client, 'test')('return 1')(['a', 'b'], 'c'), '1')
  t.strictSame(sent, ['e0e1f9fabfc9d4800c877a703b823ac0578ff8db 2 a,b,c', 'return 1 2 a,b,c'])
})

t.test('other errors of the server are not tried again', async t => {
  let calls = 0
  const client: IoredisLike = {
    evalsha: async () => { calls += 1; throw new Error("READONLY You can't write against a read only replica.") },
    eval: async () => { calls += 1 }
  }
  await t.rejects(redisScripts(client, 'test')('return 1')([]), /READONLY/)
  t.equal(calls, 1)
})

t.test('a wrong client or prefix is a TypeError that names it', async t => {
  for (const client of [undefined, null, {}, 'redis://127.0.0.1']) {
    t.throws(() => redisScripts(client as RedisClient, 'store'), { name: 'TypeError', message: 'store: pass a client of ioredis, iovalkey or node-redis' })
  }
  t.equal(keyPrefix('a-Z_0.9:', 'store'), 'a-Z_0.9::')
  for (const prefix of ['', '{a}', 'a b', 'a*', 'a\n', 'ä', 'a'.repeat(101), 1]) {
    t.throws(() => keyPrefix(prefix as string, 'store'), { name: 'TypeError', message: /^store: option "prefix" must be/ })
  }
})
