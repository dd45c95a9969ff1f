import t from 'tap'
import { askWithin } from '../../../lib/internal/plugin/ask.ts'
import { isKnown, logOutUser } from '../../../lib/internal/tenant-status/log-out-user.ts'
import type { UserStatus } from '../../../lib/user-status-store.ts'
import { memoryUserStatusStore } from '../../../lib/user-status-stores/memory.ts'
import { withoutLogOut } from '../../tenant-host.ts'

const ask = askWithin(1000, 'aPlugin')
const alice = { tenant: 'acme', subject: 'alice' }
const event = { ...alice, at: 5000, requestId: 'req-7' }

t.test('it returns the record as it was and calls finish once, with and without users.logOut', async t => {
  for (const apart of [false, true]) {
    for (const [status, after] of [
      ['logged_in', 'logged_out'], ['logged_out', 'logged_out'], ['suspended', 'suspended'], [undefined, undefined]
    ] as const) {
      const whole = memoryUserStatusStore()
      if (status !== undefined) whole.set(alice, status)
      const seen: Array<UserStatus | undefined> = []
      const users = apart ? withoutLogOut(whole) : whole
      const before = await logOutUser({ users, ask }, event, record => { seen.push(record) })
      t.equal(before?.status, status)
      t.strictSame(seen, [before])
      t.equal(whole.get(alice)?.status, after)
      t.equal(isKnown(before), status === 'logged_in' || status === 'logged_out')
      if (after === 'logged_out') t.equal(whole.get(alice)?.loggedOutAt, 5000)
    }
  }
})

t.test('an error of finish is thrown to the caller, with and without users.logOut', async t => {
  const failure = new Error('no marks')
  for (const apart of [false, true]) {
    const whole = memoryUserStatusStore()
    whole.set(alice, 'logged_in')
    const users = apart ? withoutLogOut(whole) : whole
    await t.rejects(logOutUser({ users, ask }, event, async () => { throw failure }), failure)
    t.equal(whole.get(alice)?.status, 'logged_out')
  }
})

t.test('after a conflict it reads again, and succeeds if another logout came first', async t => {
  const seen: Array<UserStatus | undefined> = []
  const records = [{ status: 'logged_in', version: 1 }, { status: 'logged_out', version: 2 }]
  const written: unknown[] = []
  const users = {
    get: () => records.shift(),
    compareAndSet: (...change: unknown[]) => { written.push(change); return false }
  }
  const before = await logOutUser({ users, ask }, event, record => { seen.push(record) })
  t.match(before, { status: 'logged_out', version: 2 })
  t.match(seen, [{ version: 2 }])
  t.strictSame(written, [[alice, 1, { status: 'logged_out', at: 5000, requestId: 'req-7' }]])
})

t.test('if other writes change the record five times, it throws an Outage and does not call finish', async t => {
  let reads = 0
  const users = { get: () => ({ status: 'logged_in', version: reads++ }), compareAndSet: () => false }
  await t.rejects(logOutUser({ users, ask }, event, () => { t.fail('it has not succeeded') }), {
    name: 'Outage', message: 'users.compareAndSet failed', cause: { message: 'other writes changed the record during each of 5 attempts' }
  })
  t.equal(reads, 5)
})
