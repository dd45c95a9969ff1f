import t from 'tap'
import { collectEdges } from '../../../lib/internal/security-events/edges.ts'
import type { LogoutEvent } from '../../../lib/logout-event.ts'

const logout = (subject: string): LogoutEvent => ({ scope: 'all', subject })

t.test('logouts are reported together, and later ones at once', async t => {
  const told: Array<readonly [LogoutEvent, unknown]> = []
  const edges = collectEdges((event, { request }) => { told.push([event, request]) }, undefined)
  await edges.add(logout('alice'))
  await edges.add(logout('bob'))
  t.strictSame(told, [])
  await edges.notify()
  t.strictSame(told, [[logout('alice'), undefined], [logout('bob'), undefined]])
  await edges.add(logout('carol'))
  t.strictSame(told[2], [logout('carol'), undefined])
})
