import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { sessionLister, type SessionsQuery } from '../../../lib/internal/kratos/list-sessions.ts'
import { askWithin } from '../../../lib/internal/plugin/ask.ts'
import type { Session, SessionPage } from '../../../lib/session-store.ts'

const in2100 = Date.UTC(2100, 0)
const session: Session = { id: 's1', subject: 'alice', status: 'active', createdAt: 5, expiresAt: in2100, keepUntil: in2100 }

async function listed (t: Test, query: SessionsQuery, sessionsOf: Readonly<Record<string, readonly Session[]>>, url = '/list') {
  const asked: SessionPage[] = []
  const identities: string[] = []
  const send = sessionLister({
    ask: askWithin(1000, 'test'),
    sessions: { list: page => { asked.push(page); return [...sessionsOf[page.subject] ?? []] } },
    identity: subject => { identities.push(subject); return { id: subject } }
  })
  const app = Fastify()
  t.teardown(() => app.close())
  app.get('/list', (request, reply) => send({ request, reply, id: '' }, query))
  const { statusCode, headers, body } = await app.inject(url)
  return { statusCode, link: headers['link'], body: JSON.parse(body), asked, identities }
}

t.test('the first spelling of a subject that has sessions is used', async t => {
  const { body, asked, identities } = await listed(t, { subjects: ['ALICE', 'alice', 'never'], except: 's9' }, { alice: [session] })
  t.match(body, [{ id: 's1', identity: { id: 'alice' } }])
  t.strictSame(asked.map(({ subject, except }) => [subject, except]), [['ALICE', 's9'], ['alice', 's9']])
  t.strictSame(identities, ['alice'], 'one identity for all sessions')
})

t.test('without sessions the list is empty, and identity is not called', async t => {
  for (const subjects of [[], ['alice']]) {
    const { statusCode, body, identities, asked } = await listed(t, { subjects }, {})
    t.strictSame([statusCode, body, identities, asked.length], [200, [], [], subjects.length])
  }
})

t.test('one session more than the page has is read, and the page has its links', async t => {
  const two = [session, { ...session, id: 's2', createdAt: 4 }]
  const first = await listed(t, { subjects: ['alice'] }, { alice: two }, '/list?page_size=1')
  t.match(first, { asked: [{ limit: 2, after: undefined }], body: [{ id: 's1' }] })
  t.match(first.link, /^<\/list\?page_size=1>; rel="first", <[^>]+>; rel="next"$/)
  t.equal(first.body.length, 1)
  const [, next = ''] = /<([^>]+)>; rel="next"/.exec(String(first.link)) ?? []
  const second = await listed(t, { subjects: ['alice'] }, { alice: two.slice(1) }, next)
  t.match(second, { asked: [{ after: { id: 's1', createdAt: 5 } }], body: [{ id: 's2' }] })
})

t.test('invalid page parameters are a 400, and the store is not called', async t => {
  const { statusCode, body, asked } = await listed(t, { subjects: ['alice'] }, {}, '/list?page_token=x')
  t.strictSame([statusCode, asked], [400, []])
  t.equal(body.error.reason, 'The page cannot be read. Follow the Link header of the previous page.')
})
