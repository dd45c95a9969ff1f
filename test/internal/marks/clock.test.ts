import t from 'tap'
import { cautiousClock } from '../../../lib/internal/marks/clock.ts'

const minute = 60_000
const start = 1_790_000_000_000

/** Clocks that the test sets. */
function played () {
  let now = 0
  let ahead = 0
  const clock = cautiousClock({ wall: () => start + now + ahead, steady: () => 100 * minute + now })
  return { clock, pass (time: number) { now += time }, set (by: number) { ahead = by } }
}

t.test('it goes as the wall clock goes', async t => {
  const { clock, pass, set } = played()
  t.equal(clock(), start)
  pass(minute)
  t.equal(clock(), start + minute)
  set(900)
  t.equal(clock(), start + minute + 900, 'small corrections count at once')
  set(-10 * minute)
  t.equal(clock(), start - 9 * minute, 'being set back counts at once')
})

t.test('a jump ahead that is corrected within an hour never happened', async t => {
  const { clock, pass, set } = played()
  for (let time = 0; time < 3; time++) {
    set(10 * minute)
    t.equal(clock(), start + time * 40 * minute)
    pass(40 * minute)
    t.equal(clock(), start + (time + 1) * 40 * minute)
    set(0)
    t.equal(clock(), start + (time + 1) * 40 * minute)
  }
})

t.test('a jump ahead counts when it has lasted for an hour', async t => {
  const { clock, pass, set } = played()
  set(10 * minute)
  t.equal(clock(), start)
  pass(60 * minute)
  t.equal(clock(), start + 60 * minute)
  pass(1)
  t.equal(clock(), start + 70 * minute + 1)
  pass(minute)
  t.equal(clock(), start + 71 * minute + 1)
})

t.test('without clocks of its own it is the machine\'s', async t => {
  const clock = cautiousClock()
  t.ok(Math.abs(clock() - Date.now()) < 1000)
})
