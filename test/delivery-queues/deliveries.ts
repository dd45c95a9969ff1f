import { setTimeout as sleep } from 'node:timers/promises'
import type { Delivery } from '../../lib/delivery-queue.ts'

/** A delivery that was never attempted. */
export function delivery (id: string): Delivery {
  return { id, clientId: 'shop', subject: 'alice', at: 1, since: 1, attempt: 1, refusals: 0 }
}

/** Waits for ten seconds at most. */
export async function until (holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let waited = 0; waited < 1000 && !await holds(); waited++) await sleep(10)
}
