import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { discoveredEndSessionEndpoint, isEndSessionEndpoint } from '../../../lib/internal/openid/end-session-endpoint.ts'
import { discoveryPath, startIssuer } from '../../servers/issuer.ts'

async function provider (t: Test) {
  const server = await startIssuer()
  t.teardown(() => server.close())
  const limits = { fetch: globalThis.fetch, timeout: 1000, maxLength: 1000 }
  const publish = (document: object) => {
    server.odd.set(discoveryPath, response => { response.end(JSON.stringify({ issuer: server.url, ...document })) })
  }
  const fail = () => { server.odd.set(discoveryPath, response => { response.writeHead(500).end() }) }
  const find = (times: { refreshAfter: number, pause: number }) => {
    return discoveredEndSessionEndpoint({ issuer: server.url, uri: `${server.url}${discoveryPath}` }, limits, times)
  }
  return { publish, fail, find, asked: () => server.count(discoveryPath) }
}

t.test('concurrent callers share a request, and a known endpoint is returned without one', async t => {
  const { publish, find, asked } = await provider(t)
  publish({ end_session_endpoint: 'https://login.example/one' })
  const endpoint = find({ refreshAfter: 60_000, pause: 1000 })
  t.strictSame(await Promise.all([endpoint(), endpoint(), endpoint()]), Array(3).fill('https://login.example/one'))
  t.equal(endpoint(), 'https://login.example/one')
  t.equal(asked(), 1)
})

t.test('an old document is read again in the background, and serves while the provider is down', async t => {
  const { publish, fail, find, asked } = await provider(t)
  publish({ end_session_endpoint: 'https://login.example/one' })
  const endpoint = find({ refreshAfter: 0, pause: 0 })
  t.equal(await endpoint(), 'https://login.example/one')
  fail()
  t.equal(endpoint(), 'https://login.example/one')
  for (let waited = 0; waited < 4000 && asked() < 2; waited++) await sleep(5)
  publish({ end_session_endpoint: 'https://login.example/two' })
  for (let waited = 0; waited < 4000 && await endpoint() !== 'https://login.example/two'; waited++) await sleep(5)
  t.equal(await endpoint(), 'https://login.example/two')
})

t.test('a provider without the endpoint has none, and that is known too', async t => {
  const { publish, find, asked } = await provider(t)
  publish({})
  const endpoint = find({ refreshAfter: 60_000, pause: 1000 })
  t.equal(await endpoint(), undefined)
  t.equal(endpoint(), undefined)
  t.equal(asked(), 1)
})

t.test('after a failure the provider is left alone for a pause, then asked again', async t => {
  const { publish, fail, find, asked } = await provider(t)
  fail()
  const endpoint = find({ refreshAfter: 60_000, pause: 60_000 })
  await t.rejects(Promise.resolve(endpoint()), { message: 'the response has status 500' })
  await t.rejects(Promise.resolve(endpoint()), { message: 'the response has status 500' })
  t.equal(asked(), 1)
  const impatient = find({ refreshAfter: 60_000, pause: 0 })
  await t.rejects(Promise.resolve(impatient()))
  publish({ end_session_endpoint: 'https://login.example/one' })
  t.equal(await impatient(), 'https://login.example/one')
  t.equal(asked(), 3)
})

t.test('browsers are sent to https, or to this machine', async t => {
  for (const url of ['https://login.example', 'https://login.example/?a=b', 'http://127.0.0.1:1', 'http://localhost/x']) {
    t.ok(isEndSessionEndpoint(url))
  }
  for (const url of ['http://login.example', 'https://login.example/#', 'https://a@login.example', 'javascript:alert(1)', '', undefined]) {
    t.notOk(isEndSessionEndpoint(url))
  }
})
