import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { tcpProxy } from './tcp-proxy.ts'

t.test('it forwards both ways, and the end of either side', async t => {
  const { proxy, open, served } = await echoBehindProxy(t)
  const client = await open()
  t.equal(await answerTo(client, 'hello'), 'hello')
  t.equal(proxy.connections(), 1)
  for (const socket of served) socket.end()
  await once(client, 'close')
  t.equal(proxy.connections(), 0)
})

t.test('cut: connections close, new ones too, until it heals', async t => {
  const { proxy, open } = await echoBehindProxy(t)
  const client = await open()
  proxy.cut()
  await once(client, 'close')
  await once(await open(), 'close')
  proxy.heal()
  t.equal(await answerTo(await open(), 'again'), 'again')
})

t.test('cut at random: with certainty every connection closes, with none all stay', async t => {
  const { proxy, open } = await echoBehindProxy(t)
  const client = await open()
  proxy.cutAtRandom(0)
  t.equal(await answerTo(client, 'still there'), 'still there')
  proxy.cutAtRandom(1)
  await once(client, 'close')
  await once(await open(), 'close')
})

t.test('swallow: nobody gets an answer nor an error, and a connection that lost something stays silent', async t => {
  const { proxy, open, served } = await echoBehindProxy(t)
  const [client, idle] = [await open(), await open()]
  proxy.swallow()
  const swallowed = Promise.race([answerTo(client, 'lost'), once(client, 'close').then(() => 'closed'), sleep(100, 'silence')])
  const late = await open()
  t.equal(await swallowed, 'silence')
  proxy.heal()
  t.equal(await answerTo(idle, 'nothing of mine was lost'), 'nothing of mine was lost')
  t.equal(await answerTo(await open(), 'new'), 'new')
  client.write('too late')
  late.write('me too')
  const [answered] = await Promise.race([once(client, 'data'), once(late, 'close'), sleep(100, ['silence'])])
  t.equal(answered, 'silence')
  const before = [...served].filter(socket => !socket.destroyed).length
  client.destroy()
  await sleep(20)
  t.equal([...served].filter(socket => !socket.destroyed).length, before, 'the server does not learn that the client has gone')
})

t.test('lead to: new connections reach another server, open ones stay', async t => {
  const { proxy, open } = await echoBehindProxy(t)
  const other = createServer(socket => { socket.end('another') })
  other.listen(0, '127.0.0.1')
  await once(other, 'listening')
  t.teardown(() => { other.close() })
  const client = await open()
  const address = other.address()
  proxy.leadTo(typeof address === 'object' ? address?.port ?? 0 : 0)
  t.equal(await answerTo(client, 'still the first'), 'still the first')
  t.equal(await answerTo(await open(), 'new'), 'another')
})

async function echoBehindProxy (t: Test) {
  const served = new Set<Socket>()
  const echo = createServer(socket => {
    served.add(socket)
    socket.on('error', () => {})
    socket.pipe(socket)
  })
  echo.listen(0, '127.0.0.1')
  await once(echo, 'listening')
  const address = echo.address()
  const proxy = await tcpProxy(t, typeof address === 'object' ? address?.port ?? 0 : 0)
  const clients: Socket[] = []
  t.teardown(() => {
    for (const socket of [...served, ...clients]) socket.destroy()
    echo.close()
  })
  const open = async () => {
    const client = connect(proxy.port, '127.0.0.1')
    clients.push(client)
    client.on('error', () => {})
    await once(client, 'connect')
    return client
  }
  return { proxy, open, served }
}

async function answerTo (client: Socket, text: string): Promise<string> {
  client.write(text)
  const [bytes] = await once(client, 'data')
  return String(bytes)
}
