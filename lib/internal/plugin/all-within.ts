import type { Awaitable } from '../../awaitable.ts'
import { Outage } from './ask.ts'

/**
 * Waits for work of several steps for at most so many milliseconds, then rejects with an {@link Outage}. The work goes on:
 * what it has begun is not left half done.
 */
export async function allWithin<Value> (milliseconds: number, work: () => Awaitable<Value>): Promise<Value> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Outage('the whole request', new Error(`it took more than ${milliseconds} ms`))), milliseconds)
  })
  try {
    return await Promise.race([work(), late])
  } finally {
    clearTimeout(timer)
  }
}
