import { AssertionError } from 'node:assert'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { deliveryQueueRules } from '../../lib/conformance/delivery-queue.ts'
import { memoryDeliveryQueue } from '../../lib/delivery-queues/memory.ts'
import type { AttemptDelivery, Delivery, DeliveryOutcome, DeliveryQueue, StopDelivering } from '../../lib/delivery-queue.ts'

type Break = (good: DeliveryQueue) => Partial<DeliveryQueue>

const enqueuing = (change: (deliveries: readonly Delivery[]) => readonly Delivery[]): Break => good => ({
  enqueue: deliveries => good.enqueue(change(deliveries))
})
const handingOut = (change: (delivery: Delivery) => Delivery): Break => good => ({
  work: (attempt, options) => good.work(delivery => attempt(change(delivery)), options)
})
const settling = (change: (outcome: DeliveryOutcome, delivery: Delivery) => DeliveryOutcome): Break => good => ({
  work: (attempt, options) => good.work(async delivery => change(await attempt(delivery), delivery), options)
})
const attempting = (change: (attempt: AttemptDelivery) => AttemptDelivery): Break => good => ({
  work: (attempt, options) => good.work(change(attempt), options)
})
const stopping = (change: (stop: StopDelivering) => Promise<number>): Break => good => ({
  work: async (attempt, options) => {
    const stop = await good.work(attempt, options)
    return () => change(stop)
  }
})
const isRetry = (outcome: DeliveryOutcome) => outcome !== 'done' && 'retryAt' in outcome

/** For each rule, the ways to break it. */
const broken: Readonly<Record<string, readonly Break[]>> = {
  'a delivery is handed out as it was put in, once if it is done': [
    handingOut(({ tenant, ...delivery }) => delivery),
    handingOut(delivery => ({ ...delivery, refusals: 0 })),
    attempting(attempt => async delivery => {
      await attempt(delivery)
      return attempt(delivery)
    })
  ],
  'what was put in before a worker is there waits for it': [
    good => {
      let isAtWork = false
      return {
        enqueue: deliveries => isAtWork ? good.enqueue(deliveries) : good.enqueue(deliveries.slice(1)),
        work: (attempt, options) => {
          isAtWork = true
          return good.work(attempt, options)
        }
      }
    }
  ],
  'an id that waits, is in hand or is dead is not put in a second time': [
    enqueuing(deliveries => deliveries.map((delivery, place) => ({ ...delivery, id: `${delivery.id}${place}` }))),
    good => {
      const dead = new Set<string>()
      return {
        enqueue: async deliveries => {
          for (const { id } of deliveries) if (dead.has(id)) await good.redeliver(id)
          return good.enqueue(deliveries)
        },
        work: (attempt, options) => good.work(async delivery => {
          const outcome = await attempt(delivery)
          if (outcome !== 'done' && 'dead' in outcome) dead.add(delivery.id)
          return outcome
        }, options)
      }
    },
    forgettingWhatIsInHand
  ],
  'a retry is handed out at its time and not before, as the outcome says': [
    settling((outcome) => isRetry(outcome) ? { ...outcome as object, retryAt: Date.now() } as DeliveryOutcome : outcome),
    settling((outcome, delivery) => isRetry(outcome)
      ? { ...outcome as object, delivery: { ...delivery, attempt: delivery.attempt + 1 } } as DeliveryOutcome
      : outcome),
    settling((outcome, delivery) => isRetry(outcome) && delivery.attempt === 2 ? { dead: 'too often' } : outcome)
  ],
  'a delivery that waits for its retry holds up no other one': [
    attempting(attempt => async delivery => {
      const outcome = await attempt(delivery)
      if (isRetry(outcome)) await sleep(3000)
      return outcome
    })
  ],
  'a delivery whose attempt rejects is handed out again, unchanged': [
    attempting(attempt => async delivery => attempt(delivery).catch(() => 'done' as const)),
    attempting(attempt => async delivery => attempt(delivery).catch(() => ({
      retryAt: 0, delivery: { ...delivery, attempt: delivery.attempt + 1 }
    })))
  ],
  'a dead delivery is listed with its reason, and is not handed out again': [
    settling(outcome => outcome !== 'done' && 'dead' in outcome ? { dead: 'dead' } : outcome),
    good => ({
      dead: async query => (await good.dead(query)).map(({ delivery, reason }) => ({ delivery: { ...delivery, sid: 'x' }, reason }))
    }),
    good => {
      const seen = new Set<string>()
      return {
        work: (attempt, options) => good.work(async delivery => {
          const outcome = await attempt(delivery)
          const isFirst = !seen.has(delivery.id)
          seen.add(delivery.id)
          return outcome !== 'done' && isFirst ? { retryAt: 0, delivery } : outcome
        }, options)
      }
    }
  ],
  'dead deliveries come in pages, each once': [
    good => ({ dead: ({ limit }) => good.dead({ limit }) }),
    good => ({ dead: ({ after }) => good.dead({ limit: 10, ...after !== undefined && { after } }) }),
    good => ({ dead: async query => (await good.dead(query)).slice(query.after === undefined ? 0 : 1) })
  ],
  'redeliver hands a dead delivery out as a new one, and only once': [
    good => ({ redeliver: async id => { await good.redeliver(id); return true } }),
    good => ({ redeliver: async () => false }),
    good => ({ redeliver: async id => await good.redeliver(id) || good.redeliver(id.slice(0, -1)) }),
    redeliveringAsItWas,
    handingOut(delivery => delivery.attempt === 1 ? { ...delivery, since: 1000 } : delivery)
  ],
  'a worker has as many deliveries in hand as it may, and never more': [
    good => ({ work: (attempt, options) => good.work(attempt, { ...options, parallel: options.parallel + 1 }) }),
    good => ({ work: (attempt, options) => good.work(attempt, { ...options, parallel: 1 }) })
  ],
  'of two workers one alone gets a delivery': [
    good => {
      const attempts: AttemptDelivery[] = []
      return {
        work: (attempt, options) => {
          attempts.push(attempt)
          return good.work(async delivery => {
            const [outcome] = await Promise.all(attempts.map(one => one(delivery)))
            return outcome ?? 'done'
          }, options)
        }
      }
    }
  ],
  'stopping waits for what is in hand, and hands out nothing more': [
    stopping(async stop => { stop(); return 0 }),
    stopping(async () => sleep(100, 0)),
    stopping(async stop => String(await stop()) as never)
  ],
  'stopping one worker leaves the other one at work': [
    good => {
      const stops: Array<() => Promise<number>> = []
      return {
        work: async (attempt, options) => {
          stops.push(await good.work(attempt, options))
          return async () => { await Promise.all(stops.map(stop => stop())); return 0 }
        }
      }
    }
  ],
  'texts are never interpreted: each is refused, or kept as it is': [
    enqueuing(deliveries => deliveries.map(delivery => ({ ...delivery, clientId: delivery.clientId.replace('\0', '') || 'x' }))),
    handingOut(delivery => ({ ...delivery, ...delivery.subject !== undefined && { subject: Buffer.from(delivery.subject).toString() } })),
    handingOut(delivery => ({ ...delivery, ...delivery.sid !== undefined && { sid: delivery.sid.slice(0, 1000) } })),
    handingOut(delivery => ({ ...delivery, ...delivery.tenant !== undefined && { tenant: delivery.tenant.trim() } }))
  ],
  'what is malformed is refused, and nothing of the call is put in': [
    good => ({ enqueue: async deliveries => { try { await good.enqueue(deliveries) } catch {} } }),
    good => ({ enqueue: async deliveries => { for (const delivery of deliveries) await good.enqueue([delivery]) } }),
    ...(['at', 'since', 'attempt', 'refusals'] as const).map(name =>
      enqueuing(deliveries => deliveries.map(delivery => ({ ...delivery, [name]: Math.floor(delivery[name]) || 1 })))),
    ...(['id', 'clientId'] as const).map(name => enqueuing(deliveries => deliveries.map(delivery => ({
      ...delivery, [name]: String(delivery[name]) || 'none'
    }))))
  ],
  'what the caller or an attempt does to a delivery changes nothing in the queue': [
    good => {
      const given = new Map<string, Delivery>()
      return {
        enqueue: deliveries => {
          for (const delivery of deliveries) given.set(delivery.id, delivery)
          return good.enqueue(deliveries)
        },
        work: (attempt, options) => good.work(delivery => attempt(given.get(delivery.id) ?? delivery), options)
      }
    },
    givingWhatItKeeps,
    good => {
      let kept: Awaited<ReturnType<DeliveryQueue['dead']>> = []
      return {
        dead: async query => {
          if (kept.length === 0) kept = await good.dead(query)
          return kept
        }
      }
    }
  ]
}

t.test('a good queue, asynchronous as a database is, passes every rule', { jobs: 8 }, async t => {
  t.strictSame(Object.keys(broken), deliveryQueueRules.map(({ name }) => name), 'there are queues that break each of them')
  for (const { name, check } of deliveryQueueRules) {
    t.test(name, t => t.resolves(check(() => ({ queue: asynchronous(memoryDeliveryQueue({ stopTimeout: 0 })) }))))
  }
})

t.test('a queue may refuse texts that it cannot keep', async t => {
  const rule = deliveryQueueRules.find(({ name }) => name.startsWith('texts'))
  const good = asynchronous(memoryDeliveryQueue({ stopTimeout: 0 }))
  const enqueue: DeliveryQueue['enqueue'] = async deliveries => {
    if (deliveries.some(({ clientId }) => clientId.includes('\0'))) throw new TypeError('NUL')
    return good.enqueue(deliveries)
  }
  t.ok(rule)
  await t.resolves(async () => rule?.check(() => ({ queue: { ...good, enqueue } })))
})

t.test('queues that break a rule', { jobs: 8 }, async t => {
  for (const { name, check } of deliveryQueueRules) {
    for (const [place, breakage] of (broken[name] ?? []).entries()) {
      t.test(`caught: a queue that breaks "${name}" (${place + 1})`, t => t.rejects(check(() => {
        const good = asynchronous(memoryDeliveryQueue({ stopTimeout: 0 }))
        return { queue: { ...good, ...breakage(good) }, timeout: 1500 }
      }), AssertionError))
    }
  }
})

/** The queue as a database is: every answer takes a turn. */
function asynchronous (queue: DeliveryQueue): DeliveryQueue {
  return {
    enqueue: async deliveries => queue.enqueue(deliveries),
    work: async (attempt, options) => queue.work(attempt, options),
    dead: async query => queue.dead(query),
    redeliver: async id => queue.redeliver(id)
  }
}

/** What is in hand is in another queue, under another id. */
function forgettingWhatIsInHand (good: DeliveryQueue): Partial<DeliveryQueue> {
  const inHand = new Set<string>()
  const original = (id: string) => id.replace(/-again$/, '')
  return {
    enqueue: deliveries => good.enqueue(deliveries.map(one => inHand.has(one.id) ? { ...one, id: `${one.id}-again` } : one)),
    work: (attempt, options) => good.work(async delivery => {
      inHand.add(delivery.id)
      const outcome = await attempt({ ...delivery, id: original(delivery.id) })
      inHand.delete(delivery.id)
      return outcome
    }, options)
  }
}

function redeliveringAsItWas (good: DeliveryQueue): Partial<DeliveryQueue> {
  const dead = new Map<string, Delivery>()
  return {
    work: (attempt, options) => good.work(async delivery => {
      const outcome = await attempt(dead.get(delivery.id) ?? delivery)
      if (outcome !== 'done' && 'dead' in outcome) dead.set(delivery.id, delivery)
      return outcome
    }, options)
  }
}

function givingWhatItKeeps (good: DeliveryQueue): Partial<DeliveryQueue> {
  const kept = new Map<string, Delivery>()
  return {
    work: (attempt, options) => good.work(delivery => {
      const one = kept.get(delivery.id) ?? delivery
      kept.set(delivery.id, one)
      return attempt(one)
    }, options)
  }
}
