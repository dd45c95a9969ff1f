import { readFileSync } from 'node:fs'
import t from 'tap'
import { openSession } from '../examples/openid-login.js'
import { memoryProviderSessionIndex } from '../lib/provider-session-indexes/memory.ts'
import { memorySessionStore } from '../lib/session-stores/memory.ts'

const issuer = 'https://login.example'
const issuedAt = Math.floor(Date.now() / 1000)
const claims = { iss: issuer, sub: 'alice', sid: 's1', iat: issuedAt }
const later = Date.now() + 3_600_000

t.test('the login of the page about OpenID Connect is the one that is tested here', async t => {
  const [inExample, inPage] = ['examples/openid-login.js', 'docs/flows/openid-connect.md'].map(path =>
    /^export async function openSession .*?^}$/ms.exec(readFileSync(path, 'utf8'))?.[0])
  t.ok(inExample?.includes('index.bind'))
  t.equal(inPage, inExample)
})

t.test('a login opens a session, and a logout at the provider finds it', async t => {
  const sessions = memorySessionStore()
  const index = memoryProviderSessionIndex()
  const token = String(await openSession(claims, 'an ID Token', { sessions, index }))
  const session = await sessions.find(token)
  t.match(session, { subject: 'alice', status: 'active', data: { idToken: 'an ID Token' } })
  const found = await index.logOut({ issuer, sid: 's1', cutoff: issuedAt * 1000, until: later })
  t.strictSame(found, [{ sessionId: session?.id, subject: 'alice' }])
})

t.test('a logout at the provider that arrives before its login is bound wins: no session is left', async t => {
  const sessions = memorySessionStore()
  const index = memoryProviderSessionIndex()
  await index.logOut({ issuer, sid: 's1', cutoff: issuedAt * 1000, until: later })
  t.equal(await openSession(claims, 'an ID Token', { sessions, index }), undefined)
  t.strictSame(await sessions.list({ subject: 'alice', limit: 10 }), [])
  t.ok(await openSession({ ...claims, iat: issuedAt + 1 }, 'a new ID Token', { sessions, index }), 'a new login in the same session lives')
})

t.test('a login without a sid is ended by a logout of its user', async t => {
  const sessions = memorySessionStore()
  const index = memoryProviderSessionIndex()
  const { sid, ...without } = claims
  await openSession(without, 'an ID Token', { sessions, index })
  t.equal((await index.logOut({ issuer, subject: 'alice', cutoff: issuedAt * 1000, until: later })).length, 1)
})

t.test('when the index fails, the login fails, and nobody gets a cookie', async t => {
  const bind = () => { throw new Error('the database is down') }
  const index = { ...memoryProviderSessionIndex(), bind }
  await t.rejects(openSession(claims, 'an ID Token', { sessions: memorySessionStore(), index }), { message: 'the database is down' })
})
