import { Buffer } from 'node:buffer'
import { Redis } from 'ioredis'
import t from 'tap'
import {
  isClusterClient, keyPrefix, listOf, numberOf, oneServerOrCluster, redisScripts, replyOf, textOf, type IoredisLike, type RedisClient
} from '../../../lib/internal/databases/redis.ts'
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
    const typesOfResp3 = await script('redis.setresp(3); return { true, false, { double = 1.5 } }')(['key'])
    t.strictSame(typesOfResp3, ['1', '0', '1.5'], `${name}: types of RESP 3`)
    t.strictSame(await script("redis.setresp(3); return { map = { a = 'b' } }")(['key']), ['a', 'b'], `${name}: a map`)
    t.strictSame(await script('redis.setresp(3); return { set = { a = true } }')(['key']), ['a'], `${name}: a set`)
    await t.rejects(script("return redis.error_reply('BUSYKEY no')")(['key']), { message: 'BUSYKEY no' }, `${name}: an error`)
    const errorInList = script("return { 'a', { err = 'WRONGTYPE in a list' } }")
    await t.rejects(errorInList(['key']), { message: /WRONGTYPE in a list/ }, `${name}: an error in a list`)
  }
}))

t.test('a reply is read in every form that clients give it', async t => {
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
  for (const strange of [undefined, () => {}, Symbol('s')]) {
    t.throws(() => replyOf([strange]), { name: 'TypeError', message: /cannot be read/ })
  }
})

t.test('a reply of an unexpected form is a TypeError', async t => {
  t.equal(textOf(''), '')
  for (const reply of [null, undefined, [], ['a']]) t.throws(() => textOf(reply), { name: 'TypeError', message: /a text was expected/ })
  t.equal(numberOf('-1.5'), -1.5)
  t.equal(numberOf('0'), 0)
  for (const reply of [null, undefined, [], ['1'], '', ' ', 'one']) {
    t.throws(() => numberOf(reply), { name: 'TypeError', message: /a number was expected/ })
  }
  t.strictSame(listOf(['a']), ['a'])
  for (const reply of [null, undefined, '', 'a']) t.throws(() => listOf(reply), { name: 'TypeError', message: /a list was expected/ })
  t.throws(() => listOf(undefined), /the reply is nothing where/)
  t.throws(() => listOf('a'), /the reply is a text where/)
  t.throws(() => textOf([]), /the reply is a list where/)
})

t.test('a script that the server does not know is sent whole, once', async t => {
  const sent: string[] = []
  const client = {
    async evalsha (digest: string, count: number, ...rest: string[]) {
      sent.push(`${digest} ${count} ${rest.join()}`)
      throw new Error('NOSCRIPT No matching script.')
    },
    async eval (lua: string, count: number, ...rest: string[]) {
      sent.push(`${lua} ${count} ${rest.join()}`)
      return 1
    }
  }
  t.equal(await redisScripts(client, 'test')('return 1')(['a', 'b'], 'c'), '1')
  t.strictSame(sent, ['e0e1f9fabfc9d4800c877a703b823ac0578ff8db 2 a,b,c', 'return 1 2 a,b,c'])
})

t.test('with auto-pipelining, a cluster client of ioredis or iovalkey sends each script in a pipeline of its own', async t => {
  const piped: unknown[] = []
  const client = (results: Array<[Error | null, unknown?]>): RedisClient => Object.assign({
    evalsha: async () => t.fail('it would share a pipeline'),
    eval: async () => t.fail('it would share a pipeline')
  }, {
    isCluster: true,
    options: { enableAutoPipelining: true },
    pipeline: (commands: unknown) => ({ exec: async () => { piped.push(commands); return results } })
  })
  const run = (results: Array<[Error | null, unknown?]>) => redisScripts(client(results), 'test')('return 1')(['key'], 'value')
  t.equal(await run([[null, 1]]), '1')
  t.strictSame(piped, [[['evalsha', 'e0e1f9fabfc9d4800c877a703b823ac0578ff8db', 1, 'key', 'value']]])
  await t.rejects(run([[new Error('READONLY no')]]), { message: 'READONLY no' })
  await t.rejects(run([]), { message: 'Redis: the pipeline has no reply' })
  await t.rejects(run([[new Error('NOSCRIPT No matching script.')]]), /NOSCRIPT/)
  t.match(piped.at(-1), [['eval', 'return 1', 1, 'key', 'value']])
})

t.test('the cluster clients of ioredis, iovalkey and node-redis are recognised', async t => {
  t.equal(isClusterClient({ isCluster: true }), true)
  t.equal(isClusterClient({ nodeClient () {} }), true)
  for (const client of [{}, { isCluster: false }, { isCluster: 'yes' }, { nodeClient: 1 }]) t.equal(isClusterClient(client), false)
})

t.test('after a server refused a script for its keys, each key has a script of its own', async t => {
  const refusals = [
    'CROSSSLOT Keys in request don\'t hash to the same slot',
    'ERR Script attempted to access a non local key in a cluster node script: abc, on @user_script:1.',
    'ERR Script attempted to access keys that do not hash to the same slot script: abc, on @user_script:1.'
  ]
  for (const message of refusals) {
    const ask = oneServerOrCluster(false, { oneServer: 'together', cluster: 'apart' })
    const asked: string[] = []
    const way = (refused: boolean) => ask(async way => {
      asked.push(way)
      if (refused && way === 'together') throw new Error(message)
      return way
    })
    t.equal(await way(false), 'together')
    t.equal(await way(true), 'apart')
    t.equal(await way(false), 'apart')
    t.strictSame(asked, ['together', 'together', 'apart', 'apart'], message)
  }
  const ask = oneServerOrCluster(false, { oneServer: 'together', cluster: 'apart' })
  for (const error of [new Error('READONLY no'), new Error('MOVED 1 127.0.0.1:1'), 'CROSSSLOT']) {
    t.equal(await ask(async () => { throw error }).catch(thrown => thrown), error)
  }
  t.equal(await ask(async way => way), 'together')
  t.equal(await oneServerOrCluster(true, { oneServer: 'together', cluster: 'apart' })(async way => way), 'apart')
})

t.test('an error of the client rejects at once', async t => {
  const offline = new Redis('redis://127.0.0.1:1', { enableOfflineQueue: false, retryStrategy: null })
  offline.on('error', () => {})
  await t.rejects(redisScripts(offline, 'test')('return 1')(['key']))
  offline.disconnect()
  const throwing: RedisClient = { evalsha: () => { throw new Error('thrown') }, eval: async () => {} }
  await t.rejects(redisScripts(throwing, 'test')('return 1')(['key']), { message: 'thrown' })
})

t.test('a command that fails for another reason is not sent again', async t => {
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
    const message = 'store: pass a client of ioredis, iovalkey or node-redis'
    t.throws(() => redisScripts(client as RedisClient, 'store'), { name: 'TypeError', message })
  }
  t.equal(keyPrefix('a-Z_0.9:', 'store'), 'a-Z_0.9::')
  for (const prefix of ['', '{a}', 'a b', 'a*', 'a\n', 'ä', 'a'.repeat(101), 1]) {
    t.throws(() => keyPrefix(prefix as string, 'store'), { name: 'TypeError', message: /^store: option "prefix" must be/ })
  }
})
