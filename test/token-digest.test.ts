import t from 'tap'
import { tokenDigest } from '../lib/token-digest.ts'

t.test('the digest under which stores keep a token is its SHA-256 in base64url: it must never change', async t => {
  t.equal(tokenDigest('abc'), 'ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0')
  t.equal(tokenDigest(''), '47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU')
  t.equal(tokenDigest('Ünïcödé \u{1f511}').length, 43)
})
