import { once } from 'node:events'
import { createServer } from 'node:https'
import { createServer as createTcpServer, type AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { addressPolicy } from '../../../lib/internal/delivery/addresses.ts'
import { messageSender, type SendSettings } from '../../../lib/internal/delivery/send.ts'
import { startReceiver } from '../../delivery-host.ts'

/** Of a test only, for shop.example. */
const key = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgCrWAflopx8VlSVhD
mBtlGVgyzzrddnK5xdpSHvU9uGOhRANCAATwW1IB7VTx07zXHFvZOcK9PJ1kx7AY
judf5UUXTJn2VfR28MweU5veBXw/8ibQu4xumVSSKFeIAlxRs+4SJukX
-----END PRIVATE KEY-----
`
const cert = `-----BEGIN CERTIFICATE-----
MIIBnjCCAUSgAwIBAgIUH3oFMZuaHW+A685yjHzbr/0tri0wCgYIKoZIzj0EAwIw
FzEVMBMGA1UEAwwMc2hvcC5leGFtcGxlMCAXDTI2MTEyMTIzMzcyM1oYDzIxMjYx
MDI4MjMzNzIzWjAXMRUwEwYDVQQDDAxzaG9wLmV4YW1wbGUwWTATBgcqhkjOPQIB
BggqhkjOPQMBBwNCAATwW1IB7VTx07zXHFvZOcK9PJ1kx7AYjudf5UUXTJn2VfR2
8MweU5veBXw/8ibQu4xumVSSKFeIAlxRs+4SJukXo2wwajAdBgNVHQ4EFgQUbCcU
jOKFdadijd0gH+jVd2r7IxEwHwYDVR0jBBgwFoAUbCcUjOKFdadijd0gH+jVd2r7
IxEwDwYDVR0TAQH/BAUwAwEB/zAXBgNVHREEEDAOggxzaG9wLmV4YW1wbGUwCgYI
KoZIzj0EAwIDSAAwRQIhAJQrOCM1qaYBWTnqQqD+nJnyiJ5/p1RIDm/qoDcvIbo5
AiAqkyzCd9ePm7vtCLdeJbCELH7S4Kr3CFN8zKbhRjUGAw==
-----END CERTIFICATE-----
`

const forbidden = { name: 'ForbiddenAddressError' }

/** Sends to a URL. */
function send (url: string, { allow = ['127.0.0.0/8'], ...settings }: Partial<SendSettings> & { readonly allow?: string[] } = {}) {
  return messageSender({
    timeout: 5000,
    allowInsecure: true,
    isAllowedAddress: addressPolicy(allow, 't', 'allow'),
    resolve: undefined,
    tls: undefined,
    ...settings
  })({ url, headers: { 'x-test': '1' }, body: 'hello' })
}

/** A server that counts connections. */
async function startCounter (t: Test) {
  let connections = 0
  const server = createTcpServer(socket => {
    connections++
    socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return { port: (server.address() as AddressInfo).port, count: () => connections }
}

t.test('S13 the URL is https, or http where that is allowed, without a user name, a password or a fragment', async t => {
  const { port, count } = await startCounter(t)
  const urls = [
    `ftp://127.0.0.1:${port}/`, 'file:///etc/passwd', 'nowhere', '', `http://alice@127.0.0.1:${port}`, `http://:hunter2@127.0.0.1:${port}`,
    `http://127.0.0.1:${port}/#part`, `http://127.0.0.1:${port}/#`, 'data:text/plain,a'
  ]
  for (const url of urls) await t.rejects(send(url), forbidden, url)
  await t.rejects(send(`http://127.0.0.1:${port}`, { allowInsecure: false }), { ...forbidden, message: /https/ })
  t.equal(count(), 0)
  t.match(await send(`http://127.0.0.1:${port}`), { status: 200 })
  t.equal(count(), 1)
})

t.test('S13 an address in the URL is judged before anything is sent, however it is spelled', async t => {
  const { port, count } = await startCounter(t)
  const hosts = ['127.0.0.1', '127.1', '2130706433', '0x7f.1', '0177.0.0.1', '127.0.0.1.', '[::ffff:127.0.0.1]', '[::1]', '[::]', '0']
  for (const host of hosts) await t.rejects(send(`http://${host}:${port}`, { allow: [] }), forbidden, host)
  t.equal(count(), 0)
})

t.test('S13 a name is resolved, and every address of it is judged', async t => {
  const { port, count } = await startCounter(t)
  const to = (...addresses: string[]) => send(`http://shop.example:${port}`, { resolve: () => addresses })
  await t.rejects(to('10.0.0.1'), forbidden)
  await t.rejects(to('127.0.0.1', '10.0.0.1'), forbidden, 'also where others are allowed')
  await t.rejects(to('::1'), forbidden)
  await t.rejects(to('elsewhere.example'), forbidden, 'not an address')
  await t.rejects(to(), { message: /no address/ })
  await t.rejects(send(`http://localhost:${port}`, { allow: [] }), forbidden, 'by the resolver of the system')
  t.equal(count(), 0)
  t.match(await to('127.0.0.1'), { status: 200 })
  t.match(await send(`http://localhost:${port}`, { allow: ['127.0.0.0/8', '::1'] }), { status: 200 })
  t.equal(count(), 2)
})

t.test('S13 the address that was judged is the one that is connected: the name is resolved once', async t => {
  const { port, count } = await startCounter(t)
  const answers = ['127.0.0.1', '10.0.0.1', '10.0.0.1']
  let asked = 0
  t.match(await send(`http://rebinding.example:${port}`, { resolve: async () => [answers[asked++] ?? ''] }), { status: 200 })
  t.equal(asked, 1)
  t.equal(count(), 1)
})

t.test('of several addresses one that answers is enough', async t => {
  const receiver = await startReceiver(t)
  const url = receiver.url.replace('127.0.0.1', 'shop.example')
  t.match(await send(url, { resolve: () => ['127.9.9.9', '127.0.0.1'] }), { status: 200 })
  t.match(receiver.seen, [{ headers: { host: new URL(url).host, 'x-test': '1', 'content-length': '5' }, body: 'hello' }])
})

t.test('over https the certificate counts, and the host may name its authority', async t => {
  const server = createServer({ key, cert }, (_request, response) => response.end('yes'))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const port = (server.address() as AddressInfo).port
  const resolve = () => ['127.0.0.1']
  await t.rejects(send(`https://shop.example:${port}`, { resolve }), { code: /SELF_SIGNED|UNABLE_TO_VERIFY/ })
  t.match(await send(`https://shop.example:${port}`, { resolve, allowInsecure: false, tls: { ca: cert } }), { status: 200, body: 'yes' })
  await t.rejects(send(`https://mail.example:${port}`, { resolve, tls: { ca: cert } }), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' })
})

t.test('a body is returned up to 64 KiB', async t => {
  const receiver = await startReceiver(t, response => response.end('a'.repeat(100_000)))
  const { body } = await send(receiver.url)
  t.equal(body.length, 65_536)
  receiver.respond = response => response.writeHead(400, { 'retry-after': '7' }).end('{"err":"x"}')
  t.match(await send(receiver.url), { status: 400, retryAfter: 7000, body: '{"err":"x"}' })
})
