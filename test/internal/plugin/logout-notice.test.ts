import type { FastifyRequest } from 'fastify'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import t, { type Test } from 'tap'
import { askWithin } from '../../../lib/internal/plugin/ask.ts'
import { logoutNotice, sessionSummary } from '../../../lib/internal/plugin/logout-notice.ts'

const ask = askWithin(20, 'aPlugin')
const summaryOf = ({ subject }: { readonly subject: string }) => ({ scope: 'all' as const, subject })
const alice = { subject: 'alice' }

function requestWith (lines: unknown[]): FastifyRequest {
  return { id: 'req-1', log: { error: (...line: unknown[]) => { lines.push(line) } } } as unknown as FastifyRequest
}

function listen (t: Test): unknown[] {
  const messages: unknown[] = []
  const listener = (message: unknown) => { messages.push(message) }
  subscribe('fastify-logout:logout', listener)
  t.teardown(() => unsubscribe('fastify-logout:logout', listener))
  return messages
}

t.test('a logout is published on the channel, then onLogout is called and awaited', async t => {
  const messages = listen(t)
  const request = requestWith([])
  const seen: unknown[] = []
  const notify = logoutNotice<typeof alice>('aPlugin', ask, {
    summaryOf, onLogout: async (...told) => { seen.push(...told, messages.length) }
  })
  await notify(alice, { request })
  t.strictSame(seen, [alice, request, 1])
  t.strictSame(messages, [{ plugin: 'aPlugin', requestId: 'req-1', duration: 0, scope: 'all', subject: 'alice' }])
})

t.test('without onLogout it returns no promise', async t => {
  t.equal(logoutNotice<typeof alice>('aPlugin', ask, { summaryOf, onLogout: undefined })(alice, { request: requestWith([]) }), undefined)
})

t.test('a failure of onLogout is logged and not thrown', async t => {
  const failure = new Error('the audit log is down')
  const failing: ReadonlyArray<() => unknown> = [() => { throw failure }, async () => { throw failure }, () => new Promise(() => {})]
  for (const onLogout of failing) {
    const lines: unknown[] = []
    await logoutNotice<typeof alice>('aPlugin', ask, { summaryOf, onLogout })(alice, { request: requestWith(lines) })
    t.match(lines, [[{ err: { message: 'onLogout failed' }, event: 'logout.hook-failed' }, 'onLogout failed after a logout']])
  }
})

t.test('without a request, a failure of onLogout is a process warning', async t => {
  for (const failure of [new Error('the audit log is down'), 'down']) {
    const warned = once(process, 'warning')
    const notify = logoutNotice<typeof alice, undefined>('aPlugin', ask, { summaryOf, onLogout: () => { throw failure } })
    await notify(alice, { request: undefined })
    t.match((await warned)[0], { message: 'onLogout failed' })
  }
})

t.test('the summary of a logout of sessions', async t => {
  const session = { id: 5, subject: 7, tenant: 'acme' }
  t.strictSame(sessionSummary({ scope: 'session', session } as never), { scope: 'session', subject: '7', tenant: 'acme', sessionId: '5' })
  t.strictSame(sessionSummary({ scope: 'others', subject: 'alice', except: 's1', count: 2 }), {
    scope: 'others', subject: 'alice', tenant: undefined, sessionId: 's1'
  })
  t.strictSame(sessionSummary({ scope: 'all', subject: 'alice', tenant: 'acme' } as never), {
    scope: 'all', subject: 'alice', tenant: 'acme', sessionId: undefined
  })
})
