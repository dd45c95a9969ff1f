import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import t, { type Test } from 'tap'

import { isForAudience, isOfType, readMessage, signatureJudge, type MessageIssuer } from '../../../lib/internal/jose/signed-message.ts'
import { signJwt } from '../../sign-jwt.ts'
import { jwksPath, startIssuer } from '../../servers/issuer.ts'

const option = { caller: 'aPlugin', at: 'senders[0]' }

async function start (t: Test) {
  const issuer = await startIssuer()
  t.teardown(() => issuer.close())
  issuer.addKey('a', 'RS256')
  const judge = (changes: Partial<MessageIssuer> = {}, timeout = 10_000) => {
    const check = signatureJudge({ issuer: issuer.url, jwksUri: `${issuer.url}${jwksPath}`, ...changes }, option, { timeout })
    return async (token: string) => check(token, readMessage(token, 16_384) ?? assert.fail('this is a message'))
  }
  return { issuer, judge }
}

t.test('a signature is judged by the keys of the issuer, RS256 by default', async t => {
  const { issuer, judge } = await start(t)
  const other = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  const verdict = judge()
  t.match(await verdict(issuer.sign('a', { sub: 'alice' }, {}, 'RS256')), { sub: 'alice' })
  t.match(await judge({ jwksUri: undefined })(issuer.sign('a', { sub: 'alice' }, {}, 'RS256')), { sub: 'alice' }, 'by discovery')
  t.equal(await verdict(issuer.sign('a', {}, {}, 'RS384')), 'algorithm')
  t.equal(await verdict(signJwt(other, 'RS256', {}, { kid: 'a' })), 'signature')
  t.equal(await verdict(signJwt(other, 'RS256', {}, { kid: 'b' })), 'key')
  t.equal(await verdict(signJwt(other, 'RS256', {})), 'signature', 'without a key id, by none of the keys')
  t.equal(await verdict(`${Buffer.from('{"alg":"none"}').toString('base64url')}.e30.`), 'algorithm')
})

t.test('a key of the host decides without a request', async t => {
  const { issuer } = await start(t)
  const secret = 'a secret of 32 bytes, or of more'
  const judge = signatureJudge({ issuer: issuer.url, algorithms: ['HS256'], key: secret }, option, { timeout: 300 })
  const token = signJwt(Buffer.from(secret), 'HS256', { sub: 'alice' })
  t.match(await judge(token, readMessage(token, 1000) ?? assert.fail()), { sub: 'alice' })
  t.strictSame(issuer.seen, [])
})

t.test('keys that cannot be fetched reject within the timeout, and are not a verdict', async t => {
  const { issuer, judge } = await start(t)
  issuer.odd.set(jwksPath, () => {})
  await t.rejects(judge({}, 300)(issuer.sign('a', {}, {}, 'RS256')),
    { message: `the keys of ${issuer.url} could not be fetched`, cause: { message: 'no answer within 300 ms' } })
})

t.test('misuse names the option', async t => {
  const make = (given: object) => () => signatureJudge({ issuer: 'https://login.example', ...given }, option, { timeout: 300 })
  t.throws(make({ issuer: '' }), { name: 'TypeError', message: 'aPlugin: option "senders[0].issuer" must be a non-empty string' })
  t.throws(make({ issuer: ['https://a.example'] }), { message: /senders\[0\]\.issuer/ })
  t.throws(make({ algorithms: ['HS256'] }), { message: /senders\[0\]\.algorithms/ }, 'a secret is not published')
  for (const member of ['jwksUri', 'discoveryUri']) {
    t.throws(make({ key: 'x', [member]: 'https://login.example' }),
      { message: 'aPlugin: option "senders[0].key" must not be given together with jwksUri or discoveryUri' })
  }
})

const part = (text: string) => Buffer.from(text).toString('base64url')

t.test('a message is three parts, with JSON objects as header and payload', async t => {
  t.match(readMessage(`${part('{"alg":"none"}')}.${part('{"a":1}')}.`, 100), { header: { alg: 'none' }, payload: { a: 1 } })
  const header = part('{"alg":"RS256"}')
  for (const [wrong, what] of [
    ['', 'nothing'], [`${header}.e30`, 'two parts'], [`${header}.e30.x.y.z`, 'five parts'], [`${header}.${part('[]')}.x`, 'a list'],
    [`${header}.${part('"text"')}.x`, 'a text'], [`${header}.${part('null')}.x`, 'null'], [`${header}.${part('{')}.x`, 'broken JSON'],
    [`${part('[]')}.e30.x`, 'a list as header'], [`${part('rubbish')}.e30.x`, 'no header'], [` ${header}.e30.x`, 'white space'],
    [`${header}.e30=.x`, 'padding'],
    [`${part('{"alg":"RS256","crit":["exp"]}')}.e30.x`, 'a critical extension'],
    [`${part('{"alg":"RS256","crit":null}')}.e30.x`, 'an odd critical extension']
  ] as const) t.equal(readMessage(wrong, 1000), undefined, what)
  const long = `${header}.${part(JSON.stringify({ long: 'x'.repeat(100) }))}.x`
  t.ok(readMessage(long, long.length))
  t.equal(readMessage(long, long.length - 1), undefined)
})

t.test('a type counts in any case, with or without application/', async t => {
  for (const typ of ['secevent+jwt', 'SecEvent+JWT', 'application/secevent+jwt', 'APPLICATION/secevent+jwt']) {
    t.equal(isOfType({ typ },
      'secevent+jwt'), true, typ)
  }
  for (const typ of ['JWT', 'logout+jwt', 'text/secevent+jwt', ' secevent+jwt', undefined, null, 5]) {
    t.equal(isOfType({ typ },
      'secevent+jwt'), false, String(typ))
  }
})

t.test('an audience is a string or a list of strings with one of ours', async t => {
  for (const audience of ['us', ['us'], ['others', 'us']]) t.equal(isForAudience(audience, ['us', 'me']), true)
  for (const audience of ['US', 'us/', '', [], ['others'], ['us', 5], 5, null, undefined, { us: 'us' }]) {
    t.equal(isForAudience(audience,
      ['us']), false)
  }
})
