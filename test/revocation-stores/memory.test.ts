import t from 'tap'
import { revocationStoreRules } from '../../lib/conformance/revocation-store.ts'
import type { Mark } from '../../lib/revocation-store.ts'
import { memoryRevocationStore } from '../../lib/revocation-stores/memory.ts'

const now = Date.now()
const hour = 3_600_000

t.test('the memory store keeps the rules of the contract', async t => {
  for (const rule of revocationStoreRules) {
    t.test(rule.name, () => rule.check(memoryRevocationStore))
  }
})

t.test('a clock that is ten minutes ahead for a while makes no mark be forgotten', async t => {
  const store = memoryRevocationStore()
  const { now } = Date
  t.teardown(() => { Date.now = now })
  const soon = now() + 300_000
  for (let index = 0; index < 1000; index++) {
    store.revoke({ tokenId: `t${index}`, until: soon }, { subject: `u${index}`, cutoff: 1, until: soon })
  }
  store.claimOnce('once', soon)
  Date.now = () => now() + 600_000
  for (let index = 0; index < 3000; index++) store.revoke({ tokenId: `x${index}`, until: Date.now() + hour })
  t.equal(store.claimOnce('once', Date.now() + hour), false)
  Date.now = now
  const live = Array.from({ length: 1000 }, (_, index) => [{ tokenId: `t${index}` }, { subject: `u${index}` }]).flat()
  t.same(live.filter(credential => store.check(credential) === 'live'), [])
})

t.test('listeners hear once of each mark that adds something', async t => {
  const store = memoryRevocationStore()
  const heard: Mark[] = []
  const stop = store.onRevoked(mark => heard.push(mark))
  const until = Date.now() + hour
  const marks: Mark[] = [{ tokenId: 't', until }, { sessionId: 's', until }, { subject: 'u', cutoff: now, until }]
  await store.revoke(...marks, ...marks)
  await store.revoke(...marks)
  t.same(heard, marks)
  await store.revoke({ subject: 'u', cutoff: now - 1, until }, { subject: 'u', cutoff: now, except: 'x', until })
  t.same(heard.length, 3)
  stop()
  await store.revoke({ tokenId: 'later', until })
  t.same(heard.length, 3)
})

t.test('a listener that throws is a warning, and the mark is made', async t => {
  const store = memoryRevocationStore()
  const warnings: unknown[] = []
  process.on('warning', warning => { warnings.push(warning.message) })
  store.onRevoked(() => { throw new Error('oops') })
  store.onRevoked(() => { throw 'text' }) // eslint-disable-line no-throw-literal
  store.revoke({ tokenId: 't', until: Date.now() + hour })
  t.equal(store.check({ tokenId: 't' }), 'revoked')
  await new Promise(resolve => setImmediate(resolve))
  t.same(warnings, ['oops', 'text'])
})
