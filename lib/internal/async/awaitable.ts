import type { Awaitable } from '../../awaitable.ts'

/** Whether a value is still to come. */
export function isPromise<Value> (value: Awaitable<Value>): value is PromiseLike<Value> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}

/** Goes on with a value, synchronously if it is there. */
export function after<Value, Result> (value: Awaitable<Value>, next: (value: Value) => Awaitable<Result>): Awaitable<Result> {
  return isPromise(value) ? value.then(next) : next(value)
}

/** Does the work and goes on after an error, synchronously if it was thrown. What `recover` throws is the new error. */
export function recovered<Value, Other> (work: () => Awaitable<Value>, recover: (error: unknown) => Other): Awaitable<Value | Other> {
  try {
    const value = work()
    return isPromise(value) ? value.then(undefined, recover) : value
  } catch (error) {
    return recover(error)
  }
}
