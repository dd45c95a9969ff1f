import t from 'tap'
import { kratosCredential } from '../../../lib/internal/kratos/caller.ts'

const find = (headers: Record<string, string>) => kratosCredential(headers, header => header)

t.test('the session token is looked for in X-Session-Token, in the cookie, in Authorization', async t => {
  const all = { 'x-session-token': 'header', cookie: 'cookie', authorization: 'Bearer bearer' }
  t.strictSame(find(all), { token: 'header', inCookie: false })
  t.strictSame(find({ ...all, 'x-session-token': '' }), { token: 'cookie', inCookie: true })
  t.strictSame(find({ authorization: 'bEARER bearer' }), { token: 'bearer', inCookie: false })
  t.equal(find({}), undefined)
  t.equal(find({ authorization: 'Basic YTpi' }), undefined)
})

t.test('Bearer is followed by exactly one space and one token, as Ory Kratos reads it', async t => {
  t.match(find({ authorization: 'Bearer a,b' }), { token: 'a,b' })
  for (const authorization of [
    'Bearer a b', 'Bearer  a', 'Bearer\ta', 'Bearer a ', 'Bearer ', 'Bearer', 'Bearera', ' Bearer a', 'xBearer a'
  ]) {
    t.equal(find({ authorization }), undefined, authorization)
  }
})

t.test('inCookie is true if the session cookie has the same token as the header', async t => {
  t.strictSame(find({ 'x-session-token': 'same', cookie: 'same' }), { token: 'same', inCookie: true })
})
