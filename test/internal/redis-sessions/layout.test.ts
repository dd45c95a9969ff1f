import t from 'tap'
import {
  entryOf, expiryOf, listedId, listedName, pageValues, sessionKeys, sessionOfReply, sessionOfText, sortable
} from '../../../lib/internal/redis-sessions/layout.ts'

const record = { id: 'id', subject: 'alice', createdAt: 1, expiresAt: 20, keepUntil: Number.MAX_SAFE_INTEGER, details: '{}' }
const digest = 'd'.repeat(43)

t.test('no id or subject can spell another key, or a hash tag that chooses its server', async t => {
  const keys = sessionKeys('p:')
  t.equal(keys.session(digest), `p:s:${digest}`)
  t.equal(keys.id('id'), 'p:i:id')
  t.equal(keys.subject('alice'), 'p:u:alice')
  for (const hostile of [`s:${digest}`, '{tag}', 'a:b', '%3A', 'ä{}']) {
    t.match(keys.id(hostile), /^p:i:[^:{}]+$/)
    t.equal(decodeURIComponent(keys.id(hostile).slice(4)), hostile)
  }
})

t.test('the tail of a key is what follows its prefix', async t => {
  const keys = sessionKeys('some-prefix:')
  for (const key of [keys.session(digest), keys.id('ä{'), keys.subject('alice')]) t.equal(key.slice(0, -keys.tail(key)), 'some-prefix:')
})

t.test('an entry names a session: lists are ordered by its creation and id', async t => {
  const entry = entryOf({ record, digest })
  t.equal(entry, '00000000001id\x000000000000k2gosa7pa2gv')
  t.equal(expiryOf(entry), sortable(20))
  t.equal(listedName(entry), '00000000001id\x002gosa7pa2gv')
  t.equal(listedId(listedName(entry)), 'id')
  const names = ([[0, 'z'], [1, 'a'], [1, 'a!'], [1, 'b'], [36, 'a']] as const)
    .map(([createdAt, id]) => listedName(entryOf({ record: { ...record, createdAt, id }, digest })))
  t.strictSame(names.toSorted(), names)
  const times = [0, 9, 10, 35, 36, 1e12, Number.MAX_SAFE_INTEGER].map(sortable)
  t.strictSame(times.toSorted(), times)
  t.ok(times.every(time => time.length === 11))
})

t.test('a page starts behind the last session of the page before, or at the newest', async t => {
  const now = sortable(Date.now()).slice(0, 7)
  t.match(pageValues({ subject: 'alice', limit: 3 }), ['~', '3', new RegExp(`^${now}`), ''])
  const after = { id: 'id', createdAt: 1 }
  t.match(pageValues({ subject: 'alice', limit: 3, after, except: 'other' }), ['00000000001id\0', '3', String, 'other'])
})

t.test('a reply is a session, none, or an error', async t => {
  const text = JSON.stringify(record)
  t.equal(sessionOfReply(null), undefined)
  t.match(sessionOfReply([text, '1']), { id: 'id', status: 'active' })
  t.match(sessionOfReply([text, '0']), { id: 'id', status: 'logged_out' })
  t.match(sessionOfText(text, true), { subject: 'alice', status: 'active' })
  for (const broken of ['', text, [], [text], [null, '1'], [text, ''], ['no json', '1']]) t.throws(() => sessionOfReply(broken))
})
