import type { Awaitable } from '../../awaitable.ts'
import { publish } from './diagnostics.ts'
import { isTokenRejected } from '../../token-verifier.ts'

/** An adapter or function of the host failed, or was late: we could not tell. Its cause is for the log only. */
export class Outage extends Error {
  override readonly name = 'Outage'

  constructor (question: string, cause: unknown) {
    super(`${question} failed`, { cause })
  }
}

/** Asks the host's side a question. */
export type Ask = <T>(question: string, answer: () => Awaitable<T>) => Awaitable<T>

/**
 * Asks with a timeout: the answer, or an {@link Outage} when the adapter throws, rejects, or does not answer in time.
 * Only a `TokenRejectedError` passes as it is, for it is an answer. A plain value is handed back without a promise.
 * Outages are published in the name of the plugin.
 */
export function askWithin (milliseconds: number, caller: string): Ask {
  const outage = (question: string, error: unknown, duration: number): unknown => {
    if (isTokenRejected(error)) return error
    publish('fastify-logout:outage', () => ({ plugin: caller, question, duration }))
    return new Outage(question, error)
  }

  return (question, answer) => {
    try {
      const answered = answer()
      return isPromise(answered) ? inTime(answered, milliseconds, (error, duration) => outage(question, error, duration)) : answered
    } catch (error) {
      throw outage(question, error, 0)
    }
  }
}

function inTime<T> (answer: PromiseLike<T>, milliseconds: number, outage: (error: unknown, duration: number) => unknown): Promise<T> {
  const start = performance.now()
  return new Promise((resolve, reject) => {
    let late = false
    const timer = setTimeout(() => {
      late = true
      reject(outage(new Error(`no answer within ${milliseconds} ms`), milliseconds))
    }, milliseconds)
    Promise.resolve(answer).then(
      value => { clearTimeout(timer); resolve(value) },
      error => { clearTimeout(timer); if (!late) reject(outage(error, performance.now() - start)) }
    )
  })
}

function isPromise<T> (value: Awaitable<T>): value is PromiseLike<T> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}
