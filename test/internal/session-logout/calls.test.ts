import t from 'tap'
import { callsWithin } from '../../../lib/internal/session-logout/calls.ts'
import { misconfigured } from '../../../lib/internal/session-logout/error.ts'

const unavailable = { code: 'LOGOUT_UNAVAILABLE', statusCode: 503, headers: { 'retry-after': '5' } }

t.test('the answer of the host is passed on', async t => {
  const call = callsWithin(1000, 'aPlugin')
  t.equal(await call('one', () => 1), 1)
  t.equal(await call('two', async () => 2), 2)
})

t.test('a function that throws, rejects or is late is an outage', async t => {
  const call = callsWithin(20, 'aPlugin')
  const down = new Error('down')
  await t.rejects(call('throws', () => { throw down }), { ...unavailable, cause: { message: 'throws failed', cause: down } })
  await t.rejects(call('rejects', () => Promise.reject(down)), { ...unavailable, cause: { cause: down } })
  await t.rejects(call('hangs', () => new Promise(() => {})), { ...unavailable, cause: { cause: { message: 'no answer within 20 ms' } } })
})

t.test('a function that says that the host is not set up correctly is believed', async t => {
  const call = callsWithin(1000, 'aPlugin')
  const wrong = misconfigured('aSource', 'do something else')
  await t.rejects(call('throws', () => { throw wrong }), wrong)
  await t.rejects(call('rejects', () => Promise.reject(wrong)), {
    code: 'LOGOUT_MISCONFIGURED', cause: { message: 'aSource: do something else' }
  })
})

t.test('what follows a success is done once, also if the answer comes after the timeout', async t => {
  const call = callsWithin(20, 'aPlugin')
  const told: unknown[] = []
  const tell = async (answer: unknown) => { told.push(answer) }
  let answer: (value: string) => void = () => {}
  await t.rejects(call('late', () => new Promise<string>(resolve => { answer = resolve }), tell), unavailable)
  t.strictSame(told, [])
  answer('after all')
  await new Promise(resolve => setImmediate(resolve))
  t.strictSame(told, ['after all'])
  await call('in time', async () => 'soon', tell)
  let fail: (error: Error) => void = () => {}
  await t.rejects(call('fails late', () => new Promise<string>((_resolve, reject) => { fail = reject }), tell), unavailable)
  fail(new Error('too late to matter'))
  await new Promise(resolve => setImmediate(resolve))
  t.strictSame(told, ['after all', 'soon'])
})

t.test('what follows may fail: in time as it says, and after the timeout unheard', async t => {
  const call = callsWithin(20, 'aPlugin')
  await t.rejects(call('one', () => 1, () => { throw misconfigured('aSource', 'do something else') }), { code: 'LOGOUT_MISCONFIGURED' })
  let answer: (value: string) => void = () => {}
  const late = () => new Promise<string>(resolve => { answer = resolve })
  await t.rejects(call('late', late, async () => { throw new Error('unheard') }), unavailable)
  answer('after all')
  await new Promise(resolve => setImmediate(resolve))
})

t.test('a query builder, which runs each time it is awaited, runs once', async t => {
  const call = callsWithin(1000, 'aPlugin')
  let runs = 0
  const builder: PromiseLike<number> = { then: resolve => Promise.resolve(++runs).then(resolve) }
  t.equal(await call('builder', () => builder, async () => {}), 1)
  t.equal(runs, 1)
})
