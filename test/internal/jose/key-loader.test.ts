import { generateKeyPairSync } from 'node:crypto'
import t, { type Test } from 'tap'

import type { RequestLimits } from '../../../lib/internal/http/json-request.ts'
import { keyLoader, type KeyLocation } from '../../../lib/internal/jose/key-loader.ts'

const issuer = 'https://login.example'
const document = `${issuer}/.well-known/openid-configuration`
const location: KeyLocation = { issuer, document, jwksUri: undefined }
const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })

/** A web of documents that a loader can fetch, and a clock that is turned by hand. */
function web (t: Test) {
  let now = 1000
  t.intercept(performance, 'now', { value: () => now })
  const documents = new Map<string, unknown>()
  const asked: string[] = []
  const fetch: RequestLimits['fetch'] = async (url) => {
    asked.push(String(url))
    const found = documents.get(String(url))
    return new Response(JSON.stringify(found), { status: found === undefined ? 404 : 200 })
  }
  const limits: RequestLimits = { fetch, timeout: 5000, maxLength: 10_000 }
  return {
    documents,
    limits,
    publish: (uri: string, kid: string) => documents.set(uri, { keys: [{ ...publicKey.export({ format: 'jwk' }), kid }] }),
    announce: (uri: unknown, others: object = {}) => documents.set(document, { issuer, jwks_uri: uri, ...others }),
    pass: (milliseconds: number) => { now += milliseconds },
    /** What was asked for since the last call. */
    asked: () => asked.splice(0)
  }
}

t.test('with a jwksUri only the key set is read', async t => {
  const { limits, publish, asked } = web(t)
  publish(`${issuer}/keys`, 'a')
  const load = keyLoader({ ...location, jwksUri: `${issuer}/keys` }, limits, 1000)
  t.ok((await load()).find('a', 'ES256'))
  t.same(asked(), [`${issuer}/keys`])
})

t.test('the discovery document is read first, and again when it is older than refreshAfter', async t => {
  const { limits, publish, announce, pass, asked } = web(t)
  publish(`${issuer}/keys`, 'a')
  announce(`${issuer}/keys`)
  const load = keyLoader(location, limits, 1000)
  await load()
  t.same(asked(), [document, `${issuer}/keys`])
  pass(999)
  await load()
  t.same(asked(), [`${issuer}/keys`])
  publish(`${issuer}/moved`, 'b')
  announce(`${issuer}/moved`)
  pass(1)
  t.ok((await load()).find('b', 'ES256'))
  t.same(asked(), [document, `${issuer}/moved`])
})

t.test('while the discovery document cannot be read, the keys are read where they were', async t => {
  const { limits, documents, publish, announce, pass, asked } = web(t)
  publish(`${issuer}/keys`, 'a')
  announce(`${issuer}/keys`)
  const load = keyLoader(location, limits, 1000)
  await load()
  documents.delete(document)
  pass(1000)
  asked()
  t.ok((await load()).find('a', 'ES256'))
  t.same(asked(), [document, `${issuer}/keys`])
  await load()
  t.same(asked(), [document, `${issuer}/keys`], 'and the document is tried again')
})

t.test('when the key set is gone, the discovery document is read again', async t => {
  const { limits, documents, publish, announce, asked } = web(t)
  publish(`${issuer}/keys`, 'a')
  announce(`${issuer}/keys`)
  const load = keyLoader(location, limits, 1000)
  await load()
  documents.delete(`${issuer}/keys`)
  await t.rejects(load(), { message: /status 404/ })
  publish(`${issuer}/moved`, 'b')
  announce(`${issuer}/moved`)
  asked()
  t.ok((await load()).find('b', 'ES256'))
  t.same(asked(), [document, `${issuer}/moved`])
})

t.test('a discovery document of another issuer, or without a secure jwks_uri, is an error', async t => {
  const { limits, documents, announce } = web(t)
  const load = keyLoader(location, limits, 1000)
  await t.rejects(load(), { message: /status 404/ })
  for (const other of [`${issuer}/`, 'https://mallory.example', undefined, [issuer]]) {
    announce(`${issuer}/keys`, { issuer: other })
    await t.rejects(load(), { message: 'the discovery document is of another issuer' })
  }
  for (const uri of [undefined, '/keys', 'http://login.example/keys', 'file:///keys', 'https://me:pass@login.example/keys']) {
    announce(uri)
    await t.rejects(load(), { message: 'the discovery document has no secure jwks_uri' })
  }
  documents.set(document, null)
  await t.rejects(load(), { message: 'the discovery document is of another issuer' })
})
