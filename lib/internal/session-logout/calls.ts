import type { Awaitable } from '../../awaitable.ts'
import { askWithin } from '../plugin/ask.ts'
import { isLogoutError, logoutError } from './error.ts'

/**
 * Calls a function of the host. Rejects with `LOGOUT_UNAVAILABLE` if it throws, rejects or is late, and with
 * `LOGOUT_MISCONFIGURED` if it says so itself.
 *
 * An answer that comes after the timeout is passed to `tellLate`, so that a logout that happened is told after all.
 */
export type CallHost = <T>(question: string, call: () => Awaitable<T>, tellLate?: (answer: T) => Promise<unknown>) => Promise<T>

/** Makes a {@link CallHost}. Outages are published in the name of the caller. */
export function callsWithin (timeout: number, caller: string): CallHost {
  const ask = askWithin(timeout, caller)

  return async (question, call, tellLate) => {
    let late = false
    const called = async () => call()
    try {
      return await ask(question, () => {
        const answer = called()
        answer.then(async value => { if (late) await tellLate?.(value) }).catch(() => {})
        return answer
      })
    } catch (outage) {
      late = true
      throw failureOf(outage)
    }
  }
}

function failureOf (outage: unknown): unknown {
  const cause = outage instanceof Error ? outage.cause : undefined
  return isLogoutError(cause) ? cause : logoutError('LOGOUT_UNAVAILABLE', outage)
}
