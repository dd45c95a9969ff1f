import { generateKeyPairSync, randomBytes } from 'node:crypto'
import t from 'tap'

import { givenKey, pinnedAlgorithms, publishedKeys, type KeyFetching } from '../../../lib/internal/jose/issuer-keys.ts'
import { readUnchecked } from '../../../lib/internal/jose/jwt.ts'
import { signJwt } from '../../sign-jwt.ts'

const option = { caller: 'aPlugin', at: 'senders[0]' }
const issuer = 'https://login.example'
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const smallRsa = generateKeyPairSync('rsa', { modulusLength: 1024 })
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const claims = { iss: issuer, sub: 'alice' }
const refused = (reason: string) => ({ name: 'TokenRejectedError', message: `the token was rejected: ${reason}` })

function fetching (keys: readonly object[], status = 200): KeyFetching {
  const fetch = async () => new Response(JSON.stringify({ keys }), { status })
  const limits = { fetch, timeout: 1000, maxLength: 100_000 }
  return { limits, times: { cooldown: 1000, allowedInARow: 10, refreshAfter: 60_000, clockTolerance: 0 } }
}

t.test('the keys that an issuer publishes verify its tokens, and no others', async t => {
  const keys = publishedKeys({ issuer, jwksUri: `${issuer}/keys` }, ['RS256'], {
    ...option,
    ...fetching([
      { ...rsa.publicKey.export({ format: 'jwk' }), kid: 'a' }, { ...smallRsa.publicKey.export({ format: 'jwk' }), kid: 'small' }
    ])
  })
  const verify = async (token: string) => keys.verify(token, readUnchecked(token))
  t.match(await verify(signJwt(rsa.privateKey, 'RS256', claims, { kid: 'a' })), claims)
  t.match(await verify(signJwt(rsa.privateKey, 'RS256', claims)), claims, 'without a key id by the only key for its algorithm')
  t.equal(await verify(signJwt(rsa.privateKey, 'RS256', claims, { kid: 'b' })), undefined)
  t.equal(await verify(signJwt(smallRsa.privateKey, 'RS256', claims, { kid: 'small' })), undefined, 'a key of 1024 bits is passed over')
  t.equal(await verify(signJwt(smallRsa.privateKey, 'RS256', claims)), undefined, 'without a key id the key may be a new one')
  await t.rejects(verify(signJwt(smallRsa.privateKey, 'RS256', claims, { kid: 'a' })), refused('untrusted'))
  await t.rejects(verify(signJwt(rsa.privateKey, 'RS512', claims, { kid: 'a' })), refused('untrusted'))
  await t.rejects(verify(signJwt(rsa.privateKey, 'RS256', claims, { kid: 5 })), refused('malformed'))
  t.equal(keys.accepts('RS256'), true)
  for (const algorithm of ['RS384', 'none', 'HS256', undefined]) t.equal(keys.accepts(algorithm), false)
})

t.test('keys that cannot be fetched are not a refusal', async t => {
  const keys = publishedKeys({ issuer, jwksUri: `${issuer}/keys` }, ['RS256'], { ...option, ...fetching([], 500) })
  const token = signJwt(rsa.privateKey, 'RS256', claims, { kid: 'a' })
  await t.rejects(async () => keys.verify(token, readUnchecked(token)), { message: `the keys of ${issuer} could not be fetched` })
})

t.test('a key that the host has verifies tokens without a request', async t => {
  const pem = rsa.publicKey.export({ type: 'spki', format: 'pem' }).toString()
  const token = signJwt(rsa.privateKey, 'RS256', claims)
  for (const key of [pem, Buffer.from(pem), rsa.publicKey, certificate]) {
    const keys = givenKey(key, ['RS256', 'PS256'], option)
    t.equal(keys.accepts('PS256'), true)
    if (key === certificate) t.throws(() => keys.verify(token, readUnchecked(token)), refused('untrusted'))
    else t.match(keys.verify(token, readUnchecked(token)), claims)
  }
  const secret = randomBytes(32)
  const shared = givenKey(secret, ['HS256'], option)
  const mac = signJwt(secret, 'HS256', claims)
  t.match(shared.verify(mac, readUnchecked(mac)), claims)
  t.match(givenKey('a secret of 32 bytes, or of more', ['HS256'], option).accepts('HS256'), true)
})

t.test('a key that is not for each of the algorithms is misuse', async t => {
  const pem = rsa.publicKey.export({ type: 'spki', format: 'pem' }).toString()
  for (const [key, algorithms] of [
    [pem, ['ES256']], [pem, ['RS256', 'HS256']], ['rubbish', ['RS256']], [smallRsa.publicKey, ['RS256']], [ec.publicKey, ['RS256']]
  ] as const) {
    t.throws(() => givenKey(key, algorithms, option),
      { name: 'TypeError', message: /^aPlugin: option "senders\[0\]\.key" must be a public key or certificate/ })
  }
  for (const secret of [randomBytes(31), 'short', ec.publicKey]) {
    t.throws(() => givenKey(secret, ['HS256'], option),
      { message: 'aPlugin: option "senders[0].key" must be a secret of at least 32 bytes for these algorithms' })
  }
  t.throws(() => givenKey(randomBytes(48), ['HS384', 'HS512', 'HS256'], option), { message: /at least 64 bytes/ })
})

t.test('algorithms are a list of known ones', async t => {
  t.strictSame(pinnedAlgorithms(['RS256', 'EdDSA'], option, { secrets: false }), ['RS256', 'EdDSA'])
  t.strictSame(pinnedAlgorithms(['HS256'], option, { secrets: true }), ['HS256'])
  for (const wrong of [undefined, [], 'RS256', ['none'], ['HS256'], ['RS256', 5]]) {
    t.throws(() => pinnedAlgorithms(wrong, option, { secrets: false }), {
      name: 'TypeError', message: "aPlugin: option \"senders[0].algorithms\" must be a list of algorithms of key pairs, such as ['RS256']"
    })
  }
  t.throws(() => pinnedAlgorithms(['none'], option, { secrets: true }), { message: /must be a list of algorithms, such as/ })
})

t.test('keys are only fetched from secure URLs', async t => {
  const place = (given: object) => () => publishedKeys({ issuer, ...given }, ['RS256'], { ...option, ...fetching([]) })
  t.throws(place({ issuer: 'http://login.example' }),
    { message: /^aPlugin: option "senders\[0\]\.issuer" must be an https URL .* Otherwise give its jwksUri$/ })
  t.throws(place({ discoveryUri: 'http://login.example' }),
    { message: /^aPlugin: option "senders\[0\]\.discoveryUri" must be an https URL/ })
  t.throws(place({ jwksUri: 'http://login.example' }), { message: /^aPlugin: option "senders\[0\]\.jwksUri" must be an https URL/ })
  t.throws(place({ jwksUri: issuer, discoveryUri: issuer }),
    { message: /"senders\[0\]\.discoveryUri" must not be given together with jwksUri$/ })
})

// A self-signed certificate of another RSA key of 2048 bits, as a SAML provider shows it.
const certificate = `-----BEGIN CERTIFICATE-----
MIIDATCCAemgAwIBAgIUdUM/hlbmvSxBZiXw3V0FEYddPRAwDQYJKoZIhvcNAQEL
BQAwDzENMAsGA1UEAwwEc2FtbDAgFw0yNjExMjEyMDAzMjNaGA8yMTI2MTAyODIw
MDMyM1owDzENMAsGA1UEAwwEc2FtbDCCASIwDQYJKoZIhvcNAQEBBQADggEPADCC
AQoCggEBAKNG9TPwu5UPoPoNJQbvfyY1lSuEVNGkJ/5VanJLZBOP7qmUijg3ZVkN
HxYonU3HazPobCAvdFM/ptKO1QCvuViWxSlpMur6Q/2A2gKD2A/pR0QmyE66jlRK
P/BROhY+NskW1Z7sZB2GjzotRoyqbBfWqO6ogSuNXx3G5DM6CGm88l/7ZuiHn34f
im41r2MzSrrz2A24y1aFH0JFDr6JQqSCzb00/A3dUl4eGAACIOuftuzve9fgCayq
yZI3f/L8Mkoj0VrTPoBdj7obviU1UZ2gz4r4y3MzYGSQ15dzjweyx6qS+c8Uo/Fx
qWB2APUqenqDvTdFNl42yu9vDqfv2E0CAwEAAaNTMFEwHQYDVR0OBBYEFNkWbsq5
ELXqrtCX450rAPtGEC1tMB8GA1UdIwQYMBaAFNkWbsq5ELXqrtCX450rAPtGEC1t
MA8GA1UdEwEB/wQFMAMBAf8wDQYJKoZIhvcNAQELBQADggEBACa/aYSeOGlHnEW/
mHKfOzF3L3/q2IChj6tp/hbgFMGbmceEmdDlTPxLNUYU65R/fOjNar8Vr4kPxPhZ
5b+x2kH/utbJnChFwU5S3RVzZp9YTfPqTX02Er0Z+F6RQix26y7JzOEFqgoaBHH8
Cgzpey3xzzZBUWzK8jUF/PlqKpH3GUdCAoqs5aHI+fw9gC/LVVRnDWzDLqJHvMGI
2K/K+IOfy7+LVaB/2R4T2Qf5s0mXS69GDVgTG+4iE/fMJjPemxDDmYsBpgzIW+TB
Iau+DKejgDX2giK24FmjyEsvUBvF61ZgR7+3OGR7tJNsirN+F+g+IsIsF/g6+3cG
hxtLNlc=
-----END CERTIFICATE-----
`
