import type { Awaitable } from '../../awaitable.ts'
import { isPromise } from './awaitable.ts'

/** A callback as Node has it: the error comes first. */
export type Callback = (error?: unknown, value?: unknown) => void

/** The value that a function calls back with: as it is if the call is synchronous, otherwise as a promise. Later calls are ignored. */
export function valueOf (start: (callback: Callback) => unknown): Awaitable<unknown> {
  const first: { error?: unknown, value?: unknown, called: boolean } = { called: false }
  let settle = (error: unknown, value: unknown) => {
    if (!first.called) Object.assign(first, { error, value, called: true })
  }
  start((error, value) => settle(error, value))
  if (!first.called) {
    return new Promise((resolve, reject) => { settle = (error, value) => { error ? reject(error) : resolve(value) } })
  }
  if (first.error) throw first.error
  return first.value
}

/**
 * Does the work and calls back: synchronously if the result is there synchronously, otherwise in a turn of its own, so
 * that an error thrown by the callback is an uncaught exception, and not ours. Without a callback it returns a promise,
 * which nobody has to catch.
 */
export function callBack (callback: Callback | undefined, work: () => Awaitable<unknown>): Promise<unknown> | undefined {
  if (callback === undefined) {
    const answer = new Promise(resolve => { resolve(work()) })
    answer.catch(() => {})
    return answer
  }
  const result = settled(work)
  if (isPromise(result)) result.then(values => setImmediate(callback, ...values))
  else callback(...result)
  return undefined
}

type Outcome = [error: unknown, value?: unknown]

function settled (work: () => Awaitable<unknown>): Awaitable<Outcome> {
  try {
    const value = work()
    return isPromise(value) ? value.then(value => [null, value], error => [error]) : [null, value]
  } catch (error) {
    return [error]
  }
}
