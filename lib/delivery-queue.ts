import type { Awaitable } from './awaitable.ts'

/** A message about a logout that one client must get. It is plain JSON, and holds no token and no secret. */
export interface Delivery {
  /** Unique for a client and a logout, 1 to 255 characters. */
  readonly id: string
  /** The client, as `findClient` of `logoutNotifier` knows it. */
  readonly clientId: string
  /** The user who was logged out. */
  readonly subject?: string | undefined
  /** The tenant of the user. */
  readonly tenant?: string | undefined
  /** The session that ended, as the client knows it. Without it, all sessions of the user ended. */
  readonly sid?: string | undefined
  /** When the logout happened, in whole epoch milliseconds. */
  readonly at: number
  /** When the delivery was put into the queue, in whole epoch milliseconds. `redeliver` sets it again. */
  readonly since: number
  /** The number of the attempt that is made next: 1 for the first. `redeliver` sets it to 1. */
  readonly attempt: number
  /** How many of the attempts before were refused by the client. `redeliver` sets it to 0. */
  readonly refusals: number
}

/**
 * What became of an attempt:
 *
 * - `done`: the client has the message. The queue forgets the delivery.
 * - `retryAt`: the queue hands the delivery out again at this instant (whole epoch milliseconds) or soon after it, as `delivery`
 *   says now. Its `id` is the same.
 * - `dead`: the queue keeps the delivery with this reason, and hands it out no more.
 */
export type DeliveryOutcome =
  | 'done'
  | { readonly retryAt: number, readonly delivery: Delivery }
  | { readonly dead: string }

/**
 * Attempts a delivery. It should not reject: a delivery whose attempt rejects is handed out again unchanged, after some seconds.
 *
 * @example
 * ```ts
 * import type { AttemptDelivery } from 'fastify-logout'
 *
 * export const attempt: AttemptDelivery = async delivery => {
 *   const response = await fetch(`https://${delivery.clientId}.example/logged-out`, { method: 'POST', body: JSON.stringify(delivery) })
 *   if (response.ok) return 'done'
 *   if (delivery.attempt === 5) return { dead: 'refused' }
 *   return { retryAt: Date.now() + 60_000, delivery: { ...delivery, attempt: delivery.attempt + 1 } }
 * }
 * ```
 */
export type AttemptDelivery = (delivery: Delivery) => Promise<DeliveryOutcome>

/** How a worker works. */
export interface DeliveryWorkOptions {
  /** The most deliveries that this worker has in hand at the same time. */
  readonly parallel: number
  /**
   * Every attempt settles within this time, in milliseconds. A delivery that is in hand for longer was lost with its process,
   * and is handed out to another worker: within 5 seconds more, if one is there.
   */
  readonly timeout: number
}

/**
 * Stops a worker: it gets nothing more to do. Resolves when the attempts in hand are settled, to the number of deliveries that
 * wait in this process alone and will be lost with it: 0 for every queue that outlives its processes.
 *
 * @example
 * ```ts
 * import type { DeliveryQueue, StopDelivering } from 'fastify-logout'
 *
 * export async function workForAMinute (queue: DeliveryQueue) {
 *   const stop: StopDelivering = await queue.work(async () => 'done', { parallel: 5, timeout: 10_000 })
 *   await new Promise(resolve => setTimeout(resolve, 60_000))
 *   return stop()
 * }
 * ```
 */
export type StopDelivering = () => Promise<number>

/** A delivery that is not attempted any more. */
export interface DeadDelivery {
  readonly delivery: Delivery
  /** Why, for example `refused` or `expired`. */
  readonly reason: string
}

/** Which dead deliveries to list. */
export interface DeadDeliveryQuery {
  /** The most deliveries that the page has. */
  readonly limit: number
  /** The `id` of the last delivery of the page before. */
  readonly after?: string | undefined
}

/**
 * Keeps deliveries until they are done: the queue that `logoutNotifier` works on. Every delivery is handed out at least once,
 * also if processes die. No order is promised, and none is needed.
 *
 * A rejection means "could not tell". Every method can be repeated. Values are kept as they are, or refused.
 *
 * @see `deliveryQueueRules` of `fastify-logout/conformance/delivery-queue`: these promises as tests.
 * @example
 * ```ts
 * import type { DeliveryQueue } from 'fastify-logout'
 *
 * // Gives everything that is dead a second chance.
 * export async function redeliverAll (queue: DeliveryQueue) {
 *   let page = await queue.dead({ limit: 100 })
 *   while (page.length > 0) {
 *     for (const { delivery } of page) await queue.redeliver(delivery.id)
 *     page = await queue.dead({ limit: 100 })
 *   }
 * }
 * ```
 */
export interface DeliveryQueue {
  /**
   * Puts deliveries into the queue: all of them or, if it rejects, none as far as can be told. They are durable once it has
   * resolved. A delivery whose `id` waits already, is in hand or is dead is not put in a second time.
   *
   * Rejects with a `TypeError` for an `id` or a `clientId` that is not a non-empty string, for a time that is not whole
   * milliseconds, and for an `attempt` or `refusals` that is not a whole number; none of the deliveries is put in then.
   */
  enqueue (deliveries: readonly Delivery[]): Awaitable<void>

  /**
   * Begins to hand out deliveries that are due, and resolves to a function that stops this. Of several workers, in one process
   * or in many, one alone has a delivery in hand.
   */
  work (attempt: AttemptDelivery, options: DeliveryWorkOptions): Awaitable<StopDelivering>

  /** Lists dead deliveries, each once over all pages, in an order that stays. */
  dead (query: DeadDeliveryQuery): Awaitable<readonly DeadDelivery[]>

  /** Hands a dead delivery out again, as if it were new. Resolves to false if there is no dead delivery with this `id`. */
  redeliver (id: string): Awaitable<boolean>
}
