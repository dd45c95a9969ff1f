import t from 'tap'
import { nextStep, type Attempted } from '../../../lib/internal/delivery/next-step.ts'
import { delivery } from '../../delivery-host.ts'

const lifetimes = { session: 86_400_000, subject: 3_600_000 }
const seconds = [1, 5, 25, 120, 600, 1800, 3600, 3600, 3600]
const unavailable: Attempted = { status: 503, retryAfter: undefined, isFinal: false }

/** How long a delivery waits for its next attempt, in seconds. */
function waitOf (attempted: Attempted, attempt: number, refusals = 0): number {
  const { outcome } = nextStep(delivery({ attempt, refusals }), attempted, lifetimes)
  return typeof outcome === 'object' && 'retryAt' in outcome ? (outcome.retryAt - Date.now()) / 1000 : NaN
}

t.test('S6 the waits grow from a second to an hour, give or take a fifth', async t => {
  for (const failure of [unavailable, 'failed'] as const) {
    for (const [place, wait] of seconds.entries()) {
      const waits = Array.from({ length: 200 }, () => waitOf(failure, place + 1))
      const [least, most] = [Math.min(...waits), Math.max(...waits)]
      t.ok(least >= wait * 0.8 - 1 && most <= wait * 1.2 + 1, `attempt ${place + 1}: ${least} to ${most}`)
      t.ok(wait < 25 || (least < wait * 0.9 && most > wait * 1.1), 'not all at the same time')
    }
  }
})

t.test('S4 S6 a Retry-After takes the place of the wait', async t => {
  t.ok(Math.abs(waitOf({ ...unavailable, retryAfter: 300_000 }, 1) - 300) < 2)
  t.ok(waitOf({ ...unavailable, retryAfter: 0 }, 7) < 2)
})

t.test('S5 refusals count apart from failures', async t => {
  const refused: Attempted = { status: 400, retryAfter: undefined, isFinal: false }
  t.ok(Math.abs(waitOf(refused, 6, 0) - 60) < 2, 'the first refusal after five failures')
  t.ok(Math.abs(waitOf(refused, 7, 1) - 540) < 2)
  t.strictSame(nextStep(delivery({ attempt: 3, refusals: 2 }), refused, lifetimes), { outcome: { dead: 'refused' }, result: 'refused' })
  t.strictSame(nextStep(delivery(), { ...refused, isFinal: true }, lifetimes), { outcome: { dead: 'refused' }, result: 'refused' })
  t.match(nextStep(delivery({ attempt: 5, refusals: 2 }), unavailable, lifetimes), { outcome: { delivery: { attempt: 6, refusals: 2 } } })
})

t.test('the next attempt is at a whole millisecond, and the delivery is otherwise the same', async t => {
  const one = delivery()
  const { outcome } = nextStep(one, 'failed', lifetimes)
  t.match(outcome, { delivery: { ...one, attempt: 2 } })
  t.ok(typeof outcome === 'object' && 'retryAt' in outcome && Number.isSafeInteger(outcome.retryAt))
})
