import t from 'tap'
import { bearerToken } from '../../../lib/internal/http/bearer-token.ts'

t.test('the token of a Bearer header is returned, for any case of the scheme and any number of spaces', async t => {
  for (const header of ['Bearer token', 'bearer token', 'BEARER token', 'Bearer   token', 'Bearer token  ']) {
    t.equal(bearerToken(header), 'token', header)
  }
  t.equal(bearerToken('Bearer a.b-c_d~e+f/g='), 'a.b-c_d~e+f/g=')
})

t.test('undefined is returned for other headers and for more than one credential', async t => {
  for (const header of [
    undefined, '', ' ', 'Bearer', 'Bearer ', 'Bearertoken', 'Basic dXNlcjpwYXNz', 'token', 'Bearer one two', 'Bearer one,two',
    'Bearer one, Bearer two',
    'Basic x, Bearer y', ' Bearer token', 'Bearer\ttoken', 'Bearer one\u00a0two'
  ]) t.equal(bearerToken(header), undefined, String(header))
})
