import { generateKeyPairSync, sign } from 'node:crypto'
import t from 'tap'
import { claimsIdOf, tokenIdOf } from '../../../lib/internal/revocation/token-id.ts'
import { tokenDigest } from '../../../lib/token-digest.ts'

const encoded = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

t.test('a JWT is known by its claims, however its signature and its header are spelled', async t => {
  const claims = { sub: 'alice', z: 1, 2: 'b', 1: 'a', nested: { roles: ['ä', 1e21, 0.1] } }
  const headers = ['{"alg":"HS256"}', '{ "alg":"HS256"}', '\n{"alg":"HS256"}', '{\n"alg":"HS256"}', '{"kid":"x","alg":"ES256"}']
  const signatures = ['c2lnbmF0dXJl', 'c2lnbmF0dXJm', 'c2lnbmF0dXJl==', '']
  for (const header of headers) {
    for (const signature of signatures) t.equal(tokenIdOf(`${encoded(header)}.${encoded(claims)}.${signature}`), claimsIdOf(claims), header)
  }
  for (const other of [{ ...claims, sub: 'bob' }, { sub: 'alice' }, {}]) {
    t.not(tokenIdOf(`${encoded({ alg: 'HS256' })}.${encoded(other)}.c2ln`), claimsIdOf(claims))
    t.not(claimsIdOf(other), claimsIdOf(claims))
  }
})

t.test('claims are what they are parsed to, however they are written', async t => {
  const texts = [
    '{"sub":"alice","iat":1}', '{ "iat": 1, "sub": "alice" }', '{"2":1,"1":2}', '{"a":1,"a":2}',
    '{"a":"\\u0041"}', '{"a":1.0}', '{"a":"/\\/"}'
  ]
  for (const text of texts) t.equal(tokenIdOf(`${encoded({ alg: 'HS256' })}.${encoded(text)}.c2ln`), claimsIdOf(JSON.parse(text)), text)
})

t.test('an ES256 token with its second valid signature has the same id', async t => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const signed = `${encoded('{ "alg": "ES256" }')}.${encoded({ sub: 'alice' })}`
  const made = sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' })
  const order = BigInt('0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551')
  const second = order - BigInt(`0x${made.subarray(32).toString('hex')}`)
  const other = Buffer.concat([made.subarray(0, 32), Buffer.from(second.toString(16).padStart(64, '0'), 'hex')])
  t.equal(tokenIdOf(`${signed}.${other.toString('base64url')}`), tokenIdOf(`${signed}.${made.toString('base64url')}`))
})

t.test('an encrypted token is known by its bytes, however they are spelled', async t => {
  const header = encoded({ alg: 'dir', enc: 'A256GCM' })
  const parts = ['', 'aXY', 'Y2lwaGVy', 'dGF']
  const other = 'dGG'
  t.ok(Buffer.from(other, 'base64url').equals(Buffer.from('dGF', 'base64url')), 'another spelling of the same bytes')
  const id = tokenIdOf([header, ...parts].join('.'))
  t.equal(tokenIdOf([header, ...parts.slice(0, 3), other].join('.')), id)
  t.equal(tokenIdOf(`${[header, ...parts].join('.')}=`), id)
  t.not(tokenIdOf([header, '', 'aXY', 'Y2lwaGVz', 'dGF'].join('.')), id)
  t.not(tokenIdOf([encoded({ alg: 'dir', enc: 'A128GCM' }), ...parts].join('.')), id)
})

t.test('an opaque token is known as a whole, also one with dots', async t => {
  const opaque = [
    'opaque',
    'opaque.token.one',
    'v4.public.one',
    'v4.public.two',
    `${encoded('"alg"')}.${encoded({})}.b`,
    `${encoded('null')}.${encoded({})}.b`,
    `${encoded(['alg'])}.${encoded({})}.b`,
    `${encoded({ kid: 'x' })}.${encoded({})}.b`,
    `${encoded({ alg: 'x' })}.${encoded('text')}.b`,
    `${encoded({ alg: 'x' })}.${encoded([])}.b`,
    'a.b.c.d.e',
    `${encoded({ alg: 'x' })}.${encoded({})}`,
    `${encoded({ alg: 'x' })}.b.c.d`,
    ''
  ]
  for (const token of opaque) t.equal(tokenIdOf(token), tokenDigest(token), token)
})
