import type { AttemptDelivery, DeliveryWorkOptions } from '../../delivery-queue.ts'
import { outcomeOf } from '../records/delivery.ts'
import type { ClaimedDelivery, PgBossJobs } from './pg-boss.ts'

/** How often a worker looks for deliveries whose process died, in milliseconds. */
const lostInterval = 2000

/** A worker that asks for deliveries again and again. */
export interface PollingWorker {
  /** Looks for deliveries now. */
  wake (): void
  /** Resolves when nothing is in hand. */
  stop (): Promise<void>
}

/** How a worker asks, and what it asks. */
export interface PollingOptions extends DeliveryWorkOptions {
  readonly jobs: PgBossJobs
  readonly pollInterval: number
  readonly onError: (error: unknown) => void
}

/** Starts a worker. Errors do not stop it: of those in a row, the first one is reported. */
export function startPolling (attempt: AttemptDelivery, options: PollingOptions): PollingWorker {
  const bell = alarm()
  const polling: Polling = {
    ...options,
    attempt,
    bell,
    report: onceForEachOutage(options.onError),
    inHand: new Set(),
    isStopping: false,
    isMoreThere: false,
    lookedForLost: -Infinity
  }
  const polled = poll(polling)

  return {
    wake: bell.ring,
    async stop () {
      polling.isStopping = true
      bell.ring()
      await polled
      await Promise.all(polling.inHand)
    }
  }
}

interface Polling extends PollingOptions {
  readonly attempt: AttemptDelivery
  readonly bell: ReturnType<typeof alarm>
  readonly report: ReturnType<typeof onceForEachOutage>
  readonly inHand: Set<Promise<void>>
  isStopping: boolean
  /** Whether the last look found as many deliveries as there was room for. */
  isMoreThere: boolean
  /** When it last looked for deliveries whose process died. */
  lookedForLost: number
}

async function poll (polling: Polling): Promise<void> {
  while (!polling.isStopping) {
    await polling.report(() => look(polling))
    await polling.bell.within(polling.isStopping ? 0 : polling.pollInterval)
  }
}

async function look (polling: Polling): Promise<void> {
  const { jobs, parallel, timeout, inHand } = polling
  const now = performance.now()
  if (now - polling.lookedForLost >= lostInterval) {
    await jobs.giveBackLost(timeout)
    polling.lookedForLost = now
  }
  const room = parallel - inHand.size
  if (room === 0) return
  const found = await jobs.claim(room)
  polling.isMoreThere = found.length === room
  for (const claimed of found) {
    if (polling.isStopping) await jobs.giveBack(claimed, claimed.delivery, Date.now())
    else handOut(claimed, polling)
  }
}

function handOut (claimed: ClaimedDelivery, polling: Polling): void {
  const { attempt, jobs, inHand, bell, report } = polling
  const handled = report(() => settle(claimed, attempt, jobs)).then(() => {
    inHand.delete(handled)
    if (polling.isMoreThere) bell.ring()
  })
  inHand.add(handled)
}

async function settle (claimed: ClaimedDelivery, attempt: AttemptDelivery, jobs: PgBossJobs): Promise<void> {
  const outcome = await outcomeOf(attempt, claimed.delivery)
  if (outcome === 'done') await jobs.forget(claimed)
  else if ('dead' in outcome) await jobs.bury(claimed, outcome.dead)
  else await jobs.giveBack(claimed, { ...outcome.delivery, id: claimed.delivery.id }, outcome.retryAt)
}

/** Runs work, and reports an error unless the work before failed too. */
function onceForEachOutage (onError: (error: unknown) => void) {
  let isOut = false
  return async (work: () => Promise<void>): Promise<void> => {
    try {
      await work()
      isOut = false
    } catch (error) {
      if (!isOut) onError(error)
      isOut = true
    }
  }
}

/** Something to wait for. If it rings while nobody waits, the next one waits for nothing. */
function alarm () {
  let hasRung = false
  let stopWaiting = () => {}
  return {
    ring (): void {
      hasRung = true
      stopWaiting()
    },
    async within (milliseconds: number): Promise<void> {
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, hasRung ? 0 : milliseconds)
        stopWaiting = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      hasRung = false
      stopWaiting = () => {}
    }
  }
}
