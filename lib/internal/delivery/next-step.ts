import type { Delivery, DeliveryOutcome } from '../../delivery-queue.ts'

/** How long deliveries are attempted, in milliseconds. */
export interface DeliveryLifetimes {
  readonly session: number
  readonly subject: number
}

/**
 * What became of an attempt: `delivered`, `failed` (it is attempted again), or why it is not: `refused` by the client,
 * `expired`, `forbidden-address`, `misconfigured`, or `no-client` (the client is unknown or has no URL).
 */
export type DeliveryResult = 'delivered' | 'failed' | 'refused' | 'expired' | 'forbidden-address' | 'misconfigured' | 'no-client'

/** What happened to one attempt. A status is judged by {@link nextStep}, everything else is clear. */
export type Attempted =
  | { readonly status: number, readonly retryAfter: number | undefined, readonly isFinal: boolean }
  | Exclude<DeliveryResult, 'delivered' | 'refused'>

/** What the queue is told, and everybody else. */
export interface NextStep {
  readonly outcome: DeliveryOutcome
  readonly result: DeliveryResult
}

const seconds = 1000
const minutes = 60 * seconds
const waitsAfterFailure = [seconds, 5 * seconds, 25 * seconds, 2 * minutes, 10 * minutes, 30 * minutes, 60 * minutes]
/** So that the second attempt is after one minute, the third after ten. */
const waitsAfterRefusal = [minutes, 9 * minutes]
const temporary = [408, 425, 429]

/** Decides what follows on an attempt. */
export function nextStep (delivery: Delivery, attempted: Attempted, lifetimes: DeliveryLifetimes): NextStep {
  if (typeof attempted === 'string') return stepAfter(attempted, delivery, lifetimes)
  const { status, retryAfter, isFinal } = attempted
  if (status >= 200 && status < 300) return { outcome: 'done', result: 'delivered' }
  if (status >= 500 || temporary.includes(status)) return retry(delivery, retryAfter ?? waitAfter(delivery), lifetimes)
  const wait = waitsAfterRefusal[delivery.refusals]
  if (isFinal || wait === undefined) return { outcome: { dead: 'refused' }, result: 'refused' }
  return retry({ ...delivery, refusals: delivery.refusals + 1 }, wait, lifetimes)
}

/** When a delivery is not attempted any more. */
export function expiryOf ({ sid, since }: Delivery, { session, subject }: DeliveryLifetimes): number {
  return since + (sid === undefined ? subject : session)
}

function stepAfter (result: Exclude<Attempted, object>, delivery: Delivery, lifetimes: DeliveryLifetimes): NextStep {
  if (result === 'failed') return retry(delivery, waitAfter(delivery), lifetimes)
  return { outcome: result === 'no-client' ? 'done' : { dead: result }, result }
}

/** Attempts it again after so many milliseconds, or has it found expired. */
function retry (delivery: Delivery, wait: number, lifetimes: DeliveryLifetimes): NextStep {
  const retryAt = Math.min(Math.ceil(Date.now() + wait), expiryOf(delivery, lifetimes))
  return { outcome: { retryAt, delivery: { ...delivery, attempt: delivery.attempt + 1 } }, result: 'failed' }
}

/** Longer each time, give or take a fifth. */
function waitAfter ({ attempt }: Delivery): number {
  const wait = waitsAfterFailure[attempt - 1] ?? 60 * minutes
  return wait * (0.8 + 0.4 * Math.random())
}
