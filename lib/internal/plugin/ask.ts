import type { FastifyBaseLogger } from 'fastify'
import type { Awaitable } from '../../awaitable.ts'
import { after, isPromise } from '../async/awaitable.ts'
import { backlog, mostUnanswered, type Backlog, type OverdueCall } from './backlog.ts'
import { publish } from './diagnostics.ts'

/** An adapter or a function of the host failed or timed out: the outcome is unknown. The cause is for the log only. */
export class Outage extends Error {
  override readonly name = 'Outage'

  constructor (question: string, cause: unknown) {
    super(`${question} failed`, { cause })
  }
}

/**
 * Calls a function or an adapter of the host. `question` is its name in errors, logs and diagnostics.
 *
 * `finish` is called once after a success, for example to notify the host of a logout: before the value is returned, or
 * later if the call succeeds after its timeout.
 */
export type Ask = <T>(question: string, call: () => Awaitable<T>, finish?: (value: T) => Awaitable<unknown>) => Awaitable<T>

/**
 * Makes an {@link Ask} with a timeout in milliseconds. It returns the value, or throws an {@link Outage} if the function
 * throws, rejects or times out. A plain value is returned without a promise.
 *
 * While too many calls of a function are unanswered, further calls fail at once, also with an {@link Outage}. Outages are
 * published on the diagnostics channel with the name of the plugin. If `finish` fails after the timeout, that is logged.
 */
export function askWithin (timeout: number, caller: string, log?: Pick<FastifyBaseLogger, 'error'>): Ask {
  const backlogs = new Map<string, Backlog>()
  const outageOf: OutageOf = (question, error, duration) => {
    publish('fastify-logout:outage', () => ({ plugin: caller, question, duration }))
    return new Outage(question, error)
  }

  return (question, call, finish) => {
    if (backlogs.get(question)?.isFull() === true) throw outageOf(question, new Error(`${mostUnanswered} calls are unanswered`), 0)
    const answer = attempt(question, call, outageOf)
    if (!isPromise(answer)) return finish === undefined ? answer : finished(answer, finish)

    const inTime = withTimeout(answer, {
      timeout,
      unanswered: backlogOf(question, backlogs),
      outageOf: (error, duration) => outageOf(question, error, duration),
      onLateValue: finish && (value => { finishLate(question, () => finish(value), log) })
    })
    return finish === undefined ? inTime : inTime.then(value => finished(value, finish))
  }
}

function backlogOf (question: string, backlogs: Map<string, Backlog>): Backlog {
  const known = backlogs.get(question)
  if (known !== undefined) return known
  const created = backlog()
  backlogs.set(question, created)
  return created
}

async function finishLate (
  question: string, finish: () => Awaitable<unknown>, log: Pick<FastifyBaseLogger, 'error'> | undefined
): Promise<void> {
  try {
    await finish()
  } catch (error) {
    log?.error({ err: error, event: 'logout.outage' }, `${question} succeeded after its timeout, but what follows it failed`)
  }
}

type OutageOf = (question: string, error: unknown, duration: number) => Outage

function attempt<T> (question: string, call: () => Awaitable<T>, outageOf: OutageOf): Awaitable<T> {
  try {
    return call()
  } catch (error) {
    throw outageOf(question, error, 0)
  }
}

function finished<T> (value: T, finish: (value: T) => Awaitable<unknown>): Awaitable<T> {
  return after(finish(value), () => value)
}

interface Watch<T> {
  readonly timeout: number
  readonly unanswered: Backlog
  readonly outageOf: (error: unknown, duration: number) => Outage
  readonly onLateValue: ((value: T) => void) | undefined
}

function withTimeout<T> (answer: PromiseLike<T>, { timeout, unanswered, outageOf, onLateValue }: Watch<T>): Promise<T> {
  const start = performance.now()
  unanswered.begin()
  return new Promise((resolve, reject) => {
    let overdue: OverdueCall | undefined
    const timer = setTimeout(() => {
      overdue = unanswered.timeOut()
      reject(outageOf(new Error(`no answer within ${timeout} ms`), timeout))
    }, timeout)
    const settle = (succeeded: boolean): boolean => {
      clearTimeout(timer)
      if (overdue === undefined) unanswered.end(succeeded)
      else unanswered.endLate(overdue)
      return overdue === undefined
    }
    Promise.resolve(answer).then(
      value => {
        if (settle(true)) resolve(value)
        else onLateValue?.(value)
      },
      error => { if (settle(false)) reject(outageOf(error, performance.now() - start)) }
    )
  })
}
