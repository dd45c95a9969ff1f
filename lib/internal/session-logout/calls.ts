import type { Awaitable } from '../../awaitable.ts'
import { askWithin } from '../plugin/ask.ts'
import { isLogoutError, logoutError } from './error.ts'

/**
 * Calls the host's side, as `Ask` does. Rejects with `LOGOUT_UNAVAILABLE` if the function throws, rejects or is late,
 * and with `LOGOUT_MISCONFIGURED` if it says so itself.
 */
export type CallHost = <T>(question: string, call: () => Awaitable<T>, finish?: (value: T) => Awaitable<unknown>) => Promise<T>

/** Makes a {@link CallHost}. Outages are published in the name of the caller. */
export function callsWithin (timeout: number, caller: string): CallHost {
  const ask = askWithin(timeout, caller)

  return async (question, call, finish) => {
    try {
      return await ask(question, call, finish)
    } catch (outage) {
      throw failureOf(outage)
    }
  }
}

function failureOf (outage: unknown): unknown {
  return [outage, Object(outage).cause].find(isLogoutError) ?? logoutError('LOGOUT_UNAVAILABLE', outage)
}
