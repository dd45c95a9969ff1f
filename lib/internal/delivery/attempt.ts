import type { FastifyBaseLogger } from 'fastify'
import type { Awaitable } from '../../awaitable.ts'
import type { AttemptDelivery, Delivery } from '../../delivery-queue.ts'
import { allWithin } from '../plugin/all-within.ts'
import type { Ask } from '../plugin/ask.ts'
import { publish } from '../plugin/diagnostics.ts'
import { ForbiddenAddressError } from './addresses.ts'
import type { ClientSlots } from './client-slots.ts'
import { MisconfiguredClientError, type LogoutClient } from './clients.ts'
import type { FirstAttempts } from './first-attempts.ts'
import type { MessageSigner } from './logout-token.ts'
import { messageFor } from './message.ts'
import { expiryOf, nextStep, type Attempted, type DeliveryLifetimes, type NextStep } from './next-step.ts'
import { refusalCode } from './security-event.ts'
import type { OutgoingMessage, SendMessage } from './send.ts'

/** Where deliveries are logged. */
export type DeliveryLog = Pick<FastifyBaseLogger, 'warn' | 'error'>

/** What an attempt needs. */
export interface AttemptSettings {
  readonly ask: Ask
  readonly findClient: (clientId: string) => Awaitable<LogoutClient | undefined | null>
  readonly signer: MessageSigner | undefined
  readonly send: SendMessage
  readonly slots: ClientSlots
  readonly first: FirstAttempts
  readonly lifetimes: DeliveryLifetimes
  /** For the client and the message, in milliseconds. */
  readonly timeout: number
  readonly log: DeliveryLog
}

/** Attempts deliveries: finds the client, signs the message, sends it, and decides what follows. It never rejects. */
export function deliveryAttempt (settings: AttemptSettings): AttemptDelivery {
  const { slots, first } = settings
  return async delivery => {
    const isExpired = Date.now() >= expiryOf(delivery, settings.lifetimes)
    const place = isExpired ? () => {} : slots.take(delivery.clientId, delivery.id)
    if (typeof place === 'number') return { retryAt: Math.ceil(Date.now() + place), delivery }
    const start = performance.now()
    const report = isExpired ? { attempted: 'expired' } as const : await attemptOnce(delivery, settings)
    place()
    const step = nextStep(delivery, report.attempted, settings.lifetimes)
    observe({ delivery, report, step, duration: performance.now() - start }, settings.log)
    first.note(delivery.id)
    return step.outcome
  }
}

interface Report {
  readonly attempted: Attempted
  /** The code of a receiver of security events. */
  readonly code?: string | undefined
  readonly error?: unknown
}

async function attemptOnce (delivery: Delivery, settings: AttemptSettings): Promise<Report> {
  try {
    const prepared = await allWithin(settings.timeout, () => prepare(delivery, settings))
    return prepared === undefined ? { attempted: 'no-client' } : await sendTo(prepared, settings)
  } catch (error) {
    if (error instanceof ForbiddenAddressError) return { attempted: 'forbidden-address', error }
    return { attempted: error instanceof MisconfiguredClientError ? 'misconfigured' : 'failed', error }
  }
}

interface Prepared {
  readonly client: LogoutClient
  readonly message: OutgoingMessage
}

async function prepare (delivery: Delivery, { ask, findClient, signer }: AttemptSettings): Promise<Prepared | undefined> {
  const client = await ask('findClient', () => findClient(delivery.clientId))
  if (client === undefined || client === null) return undefined
  const message = await messageFor(client, delivery, signer)
  return message && { client, message }
}

async function sendTo ({ client, message }: Prepared, { send }: AttemptSettings): Promise<Report> {
  const { status, retryAfter, body } = await send(message)
  const code = client.kind === 'security-events' && status === 400 ? refusalCode(body) : undefined
  return { attempted: { status, retryAfter, isFinal: code !== undefined }, code }
}

interface Observation {
  readonly delivery: Delivery
  readonly report: Report
  readonly step: NextStep
  readonly duration: number
}

/** No user, no token and no body is logged or published. */
function observe ({ delivery, report: { attempted, code, error }, step, duration }: Observation, log: DeliveryLog): void {
  const { clientId, attempt, since } = delivery
  const { outcome, result } = step
  const status = typeof attempted === 'object' ? attempted.status : undefined
  const about = { clientId, attempt, ...status !== undefined && { status } }
  publish('fastify-logout:delivery', () => ({ ...about, outcome: result, duration, age: Date.now() - since }))
  const details = { ...about, ...code !== undefined && { code }, ...error !== undefined && { err: error } }
  if (result === 'failed') log.warn({ event: 'logout.delivery-failed', ...details }, 'a client could not be notified of a logout yet')
  if (outcome !== 'done' && 'dead' in outcome) {
    log.error({ event: 'logout.delivery-dead', reason: result, ...details }, 'a client was not notified of a logout')
  }
}
