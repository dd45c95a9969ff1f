import t from 'tap'
import { pageOf, pageQuery, sessionsToList } from '../../../lib/internal/kratos/page.ts'
import type { Session } from '../../../lib/session-store.ts'

const query = (text: string) => pageQuery(new URLSearchParams(text))
const session = (index: number): Session => ({
  id: `s${index}`, subject: 'alice', status: 'active', createdAt: 1000 - index, expiresAt: 2000, keepUntil: 2000
})
const sessions = (count: number) => Array.from({ length: count }, (_, index) => session(index))

t.test('a page has 250 sessions by default, at least one and at most 1000', async t => {
  for (const [text, page] of [
    ['', { size: 250, skip: 0 }], ['page_size=7', { size: 7, skip: 0 }], ['page_size=0', { size: 1, skip: 0 }],
    ['page_size=1001', { size: 1000, skip: 0 }],
    ['per_page=7', { size: 7, skip: 0 }], ['page_size=3&per_page=7', { size: 3, skip: 0 }], ['page_size=x', { size: 250, skip: 0 }],
    ['page_size=-1', { size: 250, skip: 0 }], ['page_size=1.5', { size: 250, skip: 0 }], ['page_size=9999999999', { size: 250, skip: 0 }],
    ['per_page=10&page=0', { size: 10, skip: 0 }], ['per_page=10&page=1', { size: 10, skip: 0 }],
    ['per_page=10&page=3', { size: 10, skip: 20 }],
    ['page_size=1000&page=11', { size: 1000, skip: 10_000 }], ['page=x', { size: 250, skip: 0 }]
  ] as const) t.strictSame(query(text), page, text)
  t.equal(query('page_size=1000&page=12'), undefined, 'too far away')
})

t.test('the link to the next page continues after the last session of this one', async t => {
  const first = { size: 2, skip: 0 }
  t.equal(sessionsToList(first), 3)
  const { sessions: shown, link } = pageOf(sessions(3), first, '/sessions')
  t.strictSame(shown, sessions(2))
  t.match(link, /^<\/sessions\?page_size=2>; rel="first", <\/sessions\?page_size=2&page_token=[\w-]+>; rel="next"$/)
  const [, token = ''] = /page_token=([\w-]+)/.exec(link) ?? []
  const second = { size: 2, skip: 0, after: { createdAt: 999, id: 's1' } }
  t.strictSame(query(`page_size=2&page_token=${token}`), second)
  t.strictSame(query(`page_size=2&page_token=${token}&page=5`), second, 'a page is ignored')
})

t.test('the last page has no next one, and an empty page is a page', async t => {
  const last = '</x?page_size=2>; rel="first"'
  for (const [count, skip, shown] of [[2, 0, 2], [0, 0, 0], [4, 2, 2], [1, 2, 0]] as const) {
    const page = pageOf(sessions(count), { size: 2, skip }, '/x')
    t.strictSame([page.sessions.length, page.link], [shown, last])
  }
  t.match(pageOf(sessions(5), { size: 2, skip: 2 }, '/x'), { sessions: [{ id: 's2' }, { id: 's3' }], link: /rel="next"/ })
  t.equal(sessionsToList({ size: 2, skip: 2 }), 5)
})

t.test('a malformed page token is refused', async t => {
  const coded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const foreign = [{ offset: '1', v: 2 }, [], [1], ['1', 'x'], [1.5, 'x'], [1, 2], [1, 'x', 2], null, 'x', 5]
  for (const token of ['x', '%00', '{}', ...foreign.map(coded)]) t.equal(query(`page_token=${token}`), undefined, token)
  t.strictSame(query('page_token='), { size: 250, skip: 0 }, 'an empty one is absent')
})
