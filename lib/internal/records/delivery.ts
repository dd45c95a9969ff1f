import type { AttemptDelivery, Delivery, DeliveryOutcome } from '../../delivery-queue.ts'
import { assertTime } from './id.ts'

const longestId = 255
/** In milliseconds. */
const afterFailure = 1000

/**
 * Checks a delivery before it is stored, and copies its members.
 *
 * @throws {TypeError} for ids that are not non-empty strings, times that are not whole epoch milliseconds, and wrong counts
 */
export function deliveryRecord (delivery: Delivery): Delivery {
  const { id, clientId, subject, tenant, sid, at, since, attempt, refusals } = delivery
  assertText(id, 'the id of a delivery')
  if (id.length > longestId) throw new TypeError(`the id of a delivery must have at most ${longestId} characters`)
  assertText(clientId, 'the clientId of a delivery')
  const optional = Object.entries({ subject, tenant, sid }).filter(([, value]) => value !== undefined)
  for (const [name, value] of optional) assertText(value, `the ${name} of a delivery`)
  assertTime(at, 'at of a delivery')
  assertTime(since, 'since of a delivery')
  assertCount(attempt, 1, 'attempt of a delivery')
  assertCount(refusals, 0, 'refusals of a delivery')
  return { id, clientId, ...Object.fromEntries(optional), at, since, attempt, refusals }
}

/** A dead delivery as it is handed out again. */
export function asNew (delivery: Delivery): Delivery {
  return { ...delivery, since: Date.now(), attempt: 1, refusals: 0 }
}

/** Attempts a delivery. If the attempt fails, it is made again a second later, and its error is not kept: it may be about a request. */
export async function outcomeOf (attempt: AttemptDelivery, delivery: Delivery): Promise<DeliveryOutcome> {
  // An attempt that throws at once must not stop whoever hands out deliveries.
  await Promise.resolve()
  try {
    return await attempt({ ...delivery })
  } catch {
    return { retryAt: Date.now() + afterFailure, delivery }
  }
}

function assertText (text: unknown, name: string): asserts text is string {
  if (typeof text !== 'string' || text === '') throw new TypeError(`${name} must be a non-empty string`)
}

function assertCount (count: unknown, least: number, name: string): void {
  if (!Number.isSafeInteger(count) || Number(count) < least) throw new TypeError(`${name} must be a whole number, at least ${least}`)
}
