import t, { type Test } from 'tap'
import { backlog, mostUnanswered } from '../../../lib/internal/plugin/backlog.ts'

/** Lets this many calls begin and run into their timeouts. */
function timeOut (calls: ReturnType<typeof backlog>, count = mostUnanswered) {
  return Array.from({ length: count }, () => { calls.begin(); return calls.timeOut() })
}

/** Lets calls begin until no more may, and counts them. */
function roomOf (calls: ReturnType<typeof backlog>): number {
  for (let count = 0; ; count++) {
    if (calls.isFull()) return count
    calls.begin()
  }
}

/** Lets time pass. */
function travel (t: Test, milliseconds: number) {
  const { now } = performance
  const then = now.call(performance) + milliseconds
  performance.now = () => then
  t.teardown(() => { performance.now = now })
}

t.test('it is full at the limit, and no longer after one call is answered', async t => {
  const calls = backlog()
  t.equal(roomOf(calls), mostUnanswered)
  t.equal(calls.isFull(), true)
  calls.end(false)
  t.equal(calls.isFull(), false)
})

t.test('calls that are overdue count until they are answered', async t => {
  const calls = backlog()
  const overdue = timeOut(calls)
  t.equal(calls.isFull(), false, 'one call may try')
  calls.begin()
  t.equal(calls.isFull(), true)
  for (const call of overdue.slice(0, 2)) calls.endLate(call)
  t.equal(calls.isFull(), false)
})

t.test('calls that are overdue for a minute count as lost once a later call succeeds, and not before', async t => {
  const calls = backlog()
  timeOut(calls)
  calls.begin()
  calls.end(true)
  calls.begin()
  t.equal(calls.isFull(), true, 'they may still be answered')
  calls.end(false)

  travel(t, 61_000)
  const [recent] = timeOut(calls, 1)
  calls.begin()
  calls.end(false)
  calls.begin()
  t.equal(calls.isFull(), true, 'a failure does not show that the function works')
  calls.end(true)
  t.equal(roomOf(calls), mostUnanswered - 1)
  t.equal(calls.isFull(), true, 'the call that is not overdue for long still counts')
  if (recent !== undefined) calls.endLate(recent)
  t.equal(calls.isFull(), false)
})

t.test('when every overdue call is lost, there is room for all again', async t => {
  const calls = backlog()
  timeOut(calls)
  travel(t, 61_000)
  calls.begin()
  calls.end(true)
  t.equal(roomOf(calls), mostUnanswered)
})
