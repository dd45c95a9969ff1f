import t from 'tap'
import { queryById, queryBySubject, queryPage } from '../../../lib/internal/records/session-query.ts'

t.test('a session is looked up by its id, and by its subject if one is given', async t => {
  t.strictSame(queryById({ id: 'id' }), { id: 'id', subject: null })
  t.strictSame(queryById({ id: 'id', subject: undefined }), { id: 'id', subject: null })
  t.strictSame(queryById({ id: 'id', subject: 'alice' }), { id: 'id', subject: 'alice' })
})

t.test('a query that no session can match is undefined', async t => {
  t.equal(queryById({ id: '\0' }), undefined)
  t.equal(queryById({ id: 'id', subject: '' }), undefined)
  t.equal(queryBySubject({ subject: 'a'.repeat(513) }), undefined)
  t.equal(queryPage({ subject: '\ud800', limit: 1 }), undefined)
})

t.test('an id that is missing is a TypeError: nothing would be logged out', async t => {
  for (const id of [undefined, null, NaN, {}]) {
    t.throws(() => queryById({ id }), { name: 'TypeError', message: 'the id of a session must be a string' })
    t.throws(() => queryBySubject({ subject: id as string }), { name: 'TypeError', message: 'the subject of a session must be a string' })
  }
  t.throws(() => queryById({ id: 'id', subject: null }), { name: 'TypeError' }, 'not the session of whomever')
})

t.test('numbers are looked up as text', async t => {
  t.strictSame(queryById({ id: 7, subject: 12 }), { id: '7', subject: '12' })
  t.strictSame(queryBySubject({ subject: 12 as never, except: 7 as never }), { subject: '12', except: '7' })
})

t.test('an except that is missing, or that no session can have, excepts no session', async t => {
  for (const except of [undefined, null, '', '\0']) {
    t.strictSame(queryBySubject({ subject: 'alice', except: except as string }), { subject: 'alice', except: null })
  }
})

t.test('a page starts after a session, or with the newest one', async t => {
  const start = { createdAt: Number.MAX_SAFE_INTEGER, id: '' }
  t.strictSame(queryPage({ subject: 'alice', limit: 5 }), { subject: 'alice', except: null, start, limit: 5 })
  t.strictSame(queryPage({ subject: 'alice', except: 'id', after: { createdAt: 9, id: 'b' }, limit: 5 }),
    { subject: 'alice', except: 'id', start: { createdAt: 9, id: 'b' }, limit: 5 })
  t.strictSame(queryPage({ subject: 'alice', after: { createdAt: 9, id: '\0' }, limit: 5 })?.start, { createdAt: 9, id: '' })
})
