import t from 'tap'
import { sharedDatabases } from './openid-stores.ts'

const minute = 60_000
const issuer = 'https://op.example'
const tokenOf = (id: string) => `token of ${id}`

const session = (id: string, subject: string, end: number) => {
  return { id, subject, createdAt: Date.now(), expiresAt: end, keepUntil: end }
}

t.setTimeout(120_000)

// The processes that share a file of SQLite share a clock.
for (const { name, run, open } of sharedDatabases.filter(({ name }) => !name.includes('SQLite'))) {
  t.test(`${name}: a node whose clock is ten minutes ahead takes no session and no login from the others`, t => run(t, async url => {
    const [right, ahead] = [open(url), open(url)]
    t.teardown(() => Promise.all([right.close(), ahead.close()]))
    await right.migrate()
    const soon = Date.now() + 5 * minute
    await right.sessions.create(tokenOf('phone'), session('phone', 'alice', soon))
    const login = { issuer, subject: 'alice', sid: 'phone', issuedAt: Date.now() - 1000 }
    t.equal(await right.index.bind(login, { sessionId: 'phone', subject: 'alice' }, soon), 'live')

    const { now } = Date
    t.teardown(() => Object.assign(Date, { now }))
    Date.now = () => now() + 10 * minute
    const later = Date.now() + 5 * minute
    for (let index = 0; index < 40; index++) {
      await ahead.sessions.create(tokenOf(`bob ${index}`), session(`bob ${index}`, 'bob', later))
      const theirs = { ...login, subject: 'bob', sid: `bob ${index}` }
      await ahead.index.bind(theirs, { sessionId: `bob ${index}`, subject: 'bob' }, later)
    }
    await ahead.sessions.find(tokenOf('phone'))
    await ahead.sessions.logOut(tokenOf('phone-of-nobody'))
    await ahead.sessions.logOutSubject({ subject: 'bob' })
    for (const store of [ahead.sessions, ahead.index]) await (store as { prune?: () => unknown }).prune?.()

    Date.now = now
    t.equal((await right.sessions.find(tokenOf('phone')))?.status, 'active')
    t.equal((await right.sessions.find(tokenOf('bob 0')))?.status, 'logged_out')
    const found = await right.index.logOut({ issuer, sid: 'phone', cutoff: Date.now(), until: soon })
    t.match(found, [{ sessionId: 'phone' }], 'a logout at the provider finds the login')
  }))
}
