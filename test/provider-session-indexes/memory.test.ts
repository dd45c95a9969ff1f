import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { providerSessionIndexRules } from '../../lib/conformance/provider-session-index.ts'
import { memoryProviderSessionIndex } from '../../lib/provider-session-indexes/memory.ts'
import { checkTimes } from './times.ts'

for (const rule of providerSessionIndexRules) {
  t.test(rule.name, () => rule.check(() => memoryProviderSessionIndex()))
}

t.test('of two times of a login or a logout the later one counts, and what is over is not found', t => {
  return checkTimes(t, memoryProviderSessionIndex())
})

const issuer = 'https://login.example'
const hour = 3_600_000

function login (sid: string, subject = 'alice') {
  return { issuer, subject, sid, issuedAt: 1000 }
}

function session (sessionId: string) {
  return { sessionId, subject: 'alice' }
}

t.test('a full index refuses logins, forgets nobody, and still logs out', async t => {
  const index = memoryProviderSessionIndex({ maxLogins: 2 })
  const until = Date.now() + hour
  index.bind(login('1'), session('1'), until)
  index.bind(login('2'), session('2'), until)
  t.throws(() => index.bind(login('3'), session('3'), until), { message: 'the index is full: maxLogins is 2' })
  t.equal(index.bind(login('2'), session('2'), until + 1), 'live', 'a login that is known needs no room')
  t.strictSame(index.logOut({ issuer, subject: 'alice', cutoff: 1000, until }), [session('1'), session('2')])
  t.throws(() => index.bind(login('4'), session('4'), until), /full/)
})

t.test('a full index takes new logins in the place of those whose time is over, a few with each call', async t => {
  const index = memoryProviderSessionIndex({ maxLogins: 100 })
  const soon = Date.now() + 100
  for (let place = 0; place < 99; place++) index.bind(login(`${place}`), session(`${place}`), soon)
  index.bind(login('kept'), session('kept'), soon)
  index.bind(login('kept'), session('kept'), soon + hour)
  t.throws(() => index.bind(login('early'), session('early'), soon), /full/)
  await sleep(110)
  t.equal(index.bind(login('late'), session('late'), Date.now() + hour), 'live')
  for (let place = 0; place < 15; place++) index.bind(login(`new ${place}`), session(`new ${place}`), Date.now() + hour)
  t.strictSame(index.logOut({ issuer, sid: 'kept', cutoff: 1000, until: Date.now() + hour }), [session('kept')], 'the longer time counts')
  t.strictSame(index.logOut({ issuer, sid: '50', cutoff: 1000, until: Date.now() + hour }), [])
})

t.test('a cutoff is forgotten when its time is over, unless a later logout made it last longer', async t => {
  const index = memoryProviderSessionIndex()
  const soon = Date.now() + 100
  index.logOut({ issuer, sid: 'phone', cutoff: 2000, until: soon })
  index.logOut({ issuer, sid: 'tablet', cutoff: 2000, until: soon })
  index.logOut({ issuer, sid: 'tablet', cutoff: 500, until: soon + hour })
  t.equal(index.bind(login('phone'), session('1'), soon), 'revoked')
  await sleep(110)
  t.equal(index.bind(login('phone'), session('1'), Date.now() + hour), 'live')
  t.equal(index.bind(login('tablet'), session('2'), Date.now() + hour), 'revoked', 'the later cutoff and the later time')
})

t.test('it returns plain values, not promises', async t => {
  const index = memoryProviderSessionIndex()
  const until = Date.now() + hour
  t.equal(index.bind(login('phone'), session('1'), until), 'live')
  t.strictSame(index.logOut({ issuer, sid: 'phone', cutoff: 1000, until }), [session('1')])
})

t.test('a maxLogins that is not a positive integer is refused', async t => {
  for (const maxLogins of [0, -1, 1.5, NaN, Infinity]) {
    t.throws(() => memoryProviderSessionIndex({ maxLogins }), {
      name: 'TypeError', message: 'memoryProviderSessionIndex: option "maxLogins" must be a positive integer'
    })
  }
})
