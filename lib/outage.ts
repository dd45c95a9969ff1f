import type { Awaitable } from './awaitable.ts'
import { TokenRejectedError } from './token-verifier.ts'

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
 * Asks with a deadline: the answer, or an {@link Outage} when the adapter throws, rejects, or does not answer in time.
 * Only a {@link TokenRejectedError} passes as it is, for it is an answer. A plain value is handed back without a promise.
 */
export function askWithin (milliseconds: number): Ask {
  return (question, answer) => {
    try {
      const answered = answer()
      return isPromise(answered) ? inTime(question, answered, milliseconds) : answered
    } catch (error) {
      throw asOutage(question, error)
    }
  }
}

function inTime<T> (question: string, answer: PromiseLike<T>, milliseconds: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new Outage(question, new Error(`no answer within ${milliseconds} ms`)))
    }, milliseconds)
    Promise.resolve(answer).then(
      value => { clearTimeout(timer); resolve(value) },
      error => { clearTimeout(timer); reject(asOutage(question, error)) }
    )
  })
}

function asOutage (question: string, error: unknown): unknown {
  return error instanceof TokenRejectedError ? error : new Outage(question, error)
}

function isPromise<T> (value: Awaitable<T>): value is PromiseLike<T> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}
