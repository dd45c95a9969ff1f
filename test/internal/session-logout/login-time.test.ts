import t from 'tap'
import type { FastifyRequest } from 'fastify'
import { loginTimeCheck } from '../../../lib/internal/session-logout/login-time.ts'

t.test('the first session without a login time is a warning, once for each source', async t => {
  const warned: unknown[][] = []
  const request = { log: { warn: (...values: unknown[]) => { warned.push(values) } } } as unknown as FastifyRequest
  const check = loginTimeCheck('aSource', 'Do this.')
  const timed = [{ issuedAt: 1 }, { loggedInAt: 1 }, { issuedAt: 0 }, { loggedInAt: 1, issuedAt: NaN }]
  for (const credential of timed) check(credential, request)
  t.strictSame(warned, [])
  check({ subject: 'alice' }, request)
  t.strictSame(warned, [[{ event: 'logout.no-login-time' }, 'aSource: a session has no login time. Once its user logs out of other or all' +
    ' sessions, later logins are refused as well. Do this.']])
  check({ subject: 'bob' }, request)
  t.equal(warned.length, 1)
  for (const credential of [{ issuedAt: NaN }, { loggedInAt: NaN, issuedAt: 1 }]) loginTimeCheck('another', '')(credential, request)
  t.equal(warned.length, 3)
})
