import { createSecretKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import t from 'tap'

import type { SignatureAlgorithm } from '../../../lib/internal/jose/signature-algorithm.ts'
import { clientAuthentication, type Client, type KeyClient } from '../../../lib/internal/oauth/client-authentication.ts'
import { fastJwtVerifier } from '../../../lib/token-verifiers/fast-jwt.ts'

const endpoint = 'https://login.example/introspect'
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const pairs: ReadonlyArray<[SignatureAlgorithm, { readonly publicKey: KeyObject, readonly privateKey: KeyObject }]> = [
  ['RS256', generateKeyPairSync('rsa', { modulusLength: 2048 })],
  ['PS512', generateKeyPairSync('rsa', { modulusLength: 2048 })],
  ['ES256', ec],
  ['ES512', generateKeyPairSync('ec', { namedCurve: 'P-521' })],
  ['EdDSA', generateKeyPairSync('ed25519')]
]

const credentialsOf = (client: Client) => clientAuthentication(client, endpoint, 'caller')()

t.test('by basic, id and secret are encoded as in a form before they are joined', async t => {
  const { headers, form } = credentialsOf({ id: 'https://api.example/:x', secret: 'pä ss:w%r+d&', method: 'basic' })
  t.same(form, {})
  t.same(Object.keys(headers), ['authorization'])
  const [scheme, encoded] = String(headers['authorization']).split(' ')
  t.equal(scheme, 'Basic')
  t.equal(Buffer.from(String(encoded), 'base64').toString(), 'https%3A%2F%2Fapi.example%2F%3Ax:p%C3%A4+ss%3Aw%25r%2Bd%26')
})

t.test('by post, id and secret are in the form as they are', async t => {
  const credentials = credentialsOf({ id: 'a&b', secret: 'pä ss', method: 'post' })
  t.same(credentials, { headers: {}, form: { client_id: 'a&b', client_secret: 'pä ss' } })
})

for (const [algorithm, { publicKey, privateKey }] of pairs) {
  t.test(`by private_key_jwt with ${algorithm}, each request has an assertion of its own, for a minute`, async t => {
    const client: Client = { id: 'api', privateKey, method: 'private_key_jwt', algorithm, keyId: 'mine' }
    const credentials = clientAuthentication(client, endpoint, 'caller')
    const check = fastJwtVerifier({ key: publicKey, algorithms: [algorithm], issuer: 'api', audience: endpoint })
    const ids = [credentials(), credentials()].map(({ headers, form }) => {
      t.same(headers, {})
      const { client_assertion: assertion = '', ...others } = form
      t.same(others, { client_id: 'api', client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer' })
      t.same(JSON.parse(Buffer.from(String(assertion.split('.')[0]), 'base64url').toString()), { alg: algorithm, typ: 'JWT', kid: 'mine' })
      const { iss, sub, aud, jti, iat, exp } = check(assertion)
      t.same([iss, sub, aud, Number(exp) - Number(iat)], ['api', 'api', endpoint, 60])
      t.ok(Math.abs(Number(iat) * 1000 - Date.now()) < 60_000)
      return jti
    })
    t.equal(new Set(ids).size, 2)
  })
}

t.test('an assertion may have another audience, and no key id', async t => {
  const client: Client = { id: 'api', privateKey: ec.privateKey, method: 'private_key_jwt', algorithm: 'ES256' }
  const { form } = credentialsOf({ ...client, audience: 'https://login.example' })
  const [header = '', payload = ''] = String(form['client_assertion']).split('.')
  t.same(JSON.parse(Buffer.from(header, 'base64url').toString()), { alg: 'ES256', typ: 'JWT' })
  t.match(JSON.parse(Buffer.from(payload, 'base64url').toString()), { aud: 'https://login.example' })
})

t.test('a private key may be a PEM of either kind, bytes or a key object', async t => {
  const pem = ec.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const sec1 = ec.privateKey.export({ type: 'sec1', format: 'pem' }).toString()
  for (const privateKey of [pem, sec1, Buffer.from(pem), ec.privateKey]) {
    t.ok(credentialsOf({ id: 'api', privateKey, method: 'private_key_jwt', algorithm: 'ES256' }).form['client_assertion'])
  }
})

t.test('misuse is a TypeError that names the option and holds no secret', async t => {
  const client = { id: 'api', secret: 'hunter2', method: 'basic' }
  const key: KeyClient = { id: 'api', method: 'private_key_jwt', algorithm: 'ES256', privateKey: ec.privateKey }
  const pem = ec.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const rows: ReadonlyArray<[unknown, RegExp]> = [
    [undefined, /"client" must be an object/],
    [null, /"client" must be an object/],
    ['api', /"client" must be an object/],
    [{ ...client, id: undefined }, /"client\.id" must be a non-empty string/],
    [{ ...client, id: ' ' }, /"client\.id" must/],
    [{ ...client, id: ['api'] }, /"client\.id" must be a non-empty string/],
    [{ ...client, method: undefined }, /"client\.method" must be/],
    [{ ...client, method: 'none' }, /"client\.method" must be/],
    [{ ...client, secret: undefined }, /"client\.secret" must be a non-empty string/],
    [{ ...client, secret: '', method: 'post' }, /"client\.secret" must/],
    [{ ...key, id: '' }, /"client\.id" must/],
    [{ ...key, privateKey: undefined }, /"client\.privateKey" must be/],
    [{ ...key, privateKey: 'hunter2' }, /"client\.privateKey" must be/],
    [{ ...key, privateKey: pem.slice(0, 60) }, /"client\.privateKey" must be/],
    [{ ...key, privateKey: ec.publicKey }, /"client\.privateKey" must be/],
    [{ ...key, privateKey: createSecretKey(Buffer.alloc(32)) }, /"client\.privateKey" must be/],
    [{ ...key, algorithm: undefined }, /"client\.algorithm" must be/],
    [{ ...key, algorithm: 'RS256' }, /"client\.algorithm" must be/],
    [{ ...key, algorithm: 'HS256' }, /"client\.algorithm" must be/],
    [{ ...key, algorithm: 'toString' }, /"client\.algorithm" must be/],
    [{ ...key, keyId: '' }, /"client\.keyId" must/],
    [{ ...key, keyId: 7 }, /"client\.keyId" must/],
    [{ ...key, audience: '' }, /"client\.audience" must/]
  ]
  for (const [wrong, message] of rows) {
    const make = () => clientAuthentication(wrong as Client, endpoint, 'caller')
    t.throws(make, { name: 'TypeError', message }, String(message))
    t.throws(make, { message: /^caller: option "client/ })
    try { make() } catch (error) { t.notMatch(String(error), /hunter2/) }
  }
})
