import type { FastifyBaseLogger } from 'fastify'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Awaitable } from '../../awaitable.ts'
import { inParallel } from '../async/in-parallel.ts'
import { isSecureUrl } from '../http/secure-url.ts'
import { askWithin } from '../plugin/ask.ts'
import { publish } from '../plugin/diagnostics.ts'
import { assertFunctions, assertGroup, assertGrouped, assertOption, duration } from '../plugin/options.ts'
import { poll, PollFailure, type PollBody, type PolledToken } from './poll-request.ts'
import { eventReceiver, type EventContext, type SecurityEventOptions } from './receiver.ts'
import { resolveStream, type SecurityEventStream } from './streams.ts'

/** A stream of security events that is polled: who sends them, to whom, and where they are. */
export interface PolledEventStream extends Omit<SecurityEventStream, 'authorization'> {
  /** The `endpoint_url` of the stream: https, or http on this machine. */
  readonly endpoint: string
  /** Returns the whole `Authorization` header, such as `Bearer <token>`. Called for each poll, and once more after a 401. */
  readonly authorization: () => Awaitable<string>
}

/**
 * The options of `securityEventPoller`. `stream`, `revocations`, `resolveSubject` and `end` are required. The host's
 * functions get `undefined` as their request.
 */
export interface SecurityEventPollerOptions extends SecurityEventOptions<undefined> {
  /** Who sends events, by which keys, and where they are. */
  readonly stream: PolledEventStream
  /** How long the transmitter may let a poll wait, in milliseconds. A later answer is not waited for. @default 65000 */
  readonly timeout?: number | undefined
  /** Where refused and ignored events and outages are logged, such as `app.log`. @default nothing is logged */
  readonly log?: Pick<FastifyBaseLogger, 'info' | 'warn' | 'error'> | undefined
  /** Replaces the global `fetch`, for a proxy or a private certificate authority. @default globalThis.fetch */
  readonly fetch?: typeof globalThis.fetch | undefined
}

/** Polls a transmitter of security events. `securityEventPoller` makes it. */
export interface SecurityEventPoller {
  /** Begins to poll. While it polls, this does nothing. */
  start (): void
  /**
   * Cuts the waiting poll, finishes the events in hand, and acknowledges them. Resolves within 5 seconds: what was not
   * acknowledged by then comes again.
   */
  stop (): Promise<void>
  /** When the transmitter last responded, in epoch milliseconds, for health checks. */
  readonly lastPolledAt: number | undefined
  /** When the last event was accepted, in epoch milliseconds. */
  readonly lastEventAt: number | undefined
}

const callTimeout = 2000
const parallel = 8
const maxEvents = 100
/** Without events, there is one request in this time at most. */
const pause = 1000
const longestBackoff = 300_000
const longestStop = 5000
const longestLastPoll = 3000

/** What became of tokens, until the transmitter knows. */
interface Results {
  readonly acks: Set<string>
  readonly errors: Map<string, { readonly err: string, readonly description: string }>
}

type Log = EventContext<undefined>['log']

const silent: Log = { info () {}, warn () {}, error () {} }

/** @throws {TypeError} for an option that is missing or wrong */
export function poller (options: SecurityEventPollerOptions, caller: string): SecurityEventPoller {
  const settings = resolveOptions(options, caller)
  const seen: Seen = { polledAt: undefined, eventAt: undefined }
  const results: Results = { acks: new Set(), errors: new Map() }
  let running: { readonly stopping: AbortController, readonly done: Promise<void> } | undefined

  return {
    start () {
      if (running !== undefined) return
      const stopping = new AbortController()
      running = { stopping, done: pollUntil(stopping.signal, { settings, results, seen }) }
    },

    async stop () {
      const { stopping, done } = running ?? {}
      running = undefined
      stopping?.abort()
      const timer = new AbortController()
      const late = sleep(longestStop, undefined, { signal: timer.signal }).catch(() => {})
      await Promise.race([done, late])
      timer.abort()
    },

    get lastPolledAt () { return seen.polledAt },
    get lastEventAt () { return seen.eventAt }
  }
}

interface Seen {
  polledAt: number | undefined
  eventAt: number | undefined
}

interface Polling {
  readonly settings: Settings
  readonly results: Results
  readonly seen: Seen
}

async function pollUntil (stopped: AbortSignal, polling: Polling): Promise<void> {
  let failures = 0
  while (!stopped.aborted) {
    const failure = await pollInTurn(stopped, polling)
    if (failure === undefined) failures = 0
    else await waitFor(backoff(failure.error, failures++), stopped)
  }
  await acknowledgeLast(polling)
}

/** Polls, and waits before the next poll if there was nothing to report. Resolves to the failure, which it has logged. */
async function pollInTurn (stopped: AbortSignal, polling: Polling): Promise<{ readonly error: unknown } | undefined> {
  const began = performance.now()
  try {
    const isProgress = await pollOnce(stopped, polling)
    if (!isProgress) await waitFor(began + pause - performance.now(), stopped)
    return undefined
  } catch (error) {
    if (stopped.aborted) return undefined
    reportFailure(error, performance.now() - began, polling.settings)
    return { error }
  }
}

/** Polls, and carries the events out. Returns whether there was something that the transmitter must know. */
async function pollOnce (signal: AbortSignal, { settings, results, seen }: Polling): Promise<boolean> {
  const polled = await askTransmitter({ maxEvents, returnImmediately: false }, { settings, results }, signal)
  if (polled === 'timeout') return false
  seen.polledAt = Date.now()
  await inParallel(polled, parallel, async ([jti, token]) => {
    if (await carryOut(jti, token, { settings, results })) seen.eventAt = Date.now()
  })
  return results.acks.size + results.errors.size > 0
}

/** Sends what became of earlier tokens, and forgets it once the transmitter has responded. */
async function askTransmitter (
  what: Pick<PollBody, 'maxEvents' | 'returnImmediately'>, { settings, results }: Omit<Polling, 'seen'>, signal: AbortSignal
): Promise<readonly PolledToken[] | 'timeout'> {
  const { fetch, endpoint, timeout } = settings
  const ack = [...results.acks]
  const errors = [...results.errors]
  const send = async () => poll({
    fetch, endpoint, timeout, signal, authorization: await settings.authorize(), body: { ...what, ack, setErrs: Object.fromEntries(errors) }
  })
  const answer = await send().catch(error => {
    if (error instanceof PollFailure && error.status === 401) return send()
    throw error
  })
  if (answer === 'timeout') return answer
  for (const jti of ack) results.acks.delete(jti)
  for (const [jti] of errors) results.errors.delete(jti)
  return answer
}

/** Whether the event was accepted. One that could not be carried out is neither acknowledged nor refused: it comes again. */
async function carryOut (jti: string, token: unknown, { settings, results }: Omit<Polling, 'seen'>): Promise<boolean> {
  const { receive, log } = settings
  try {
    const refusal = await receive({ token: String(token) }, { request: undefined, log, jti })
    if (refusal === undefined) results.acks.add(jti)
    else results.errors.set(jti, refusalOf(refusal, log))
    return refusal === undefined
  } catch (error) {
    log.error({ err: error, event: 'logout.outage' }, 'a security event could not be carried out')
    return false
  }
}

type Refusal = NonNullable<Awaited<ReturnType<Settings['receive']>>>

function refusalOf (refusal: Refusal, log: Log): { readonly err: string, readonly description: string } {
  const { err, description, issuer = 'unknown', jti } = Object(refusal)
  log.warn({ event: 'security-event.refused', sender: issuer, code: err, description, jti }, 'a security event was refused')
  return { err, description }
}

async function acknowledgeLast ({ settings, results }: Polling): Promise<void> {
  if (results.acks.size + results.errors.size === 0) return
  try {
    const inTime = { ...settings, timeout: Math.min(settings.timeout, longestLastPoll) }
    await askTransmitter({ maxEvents: 0, returnImmediately: true }, { settings: inTime, results }, new AbortController().signal)
  } catch (error) {
    reportFailure(error, 0, settings)
  }
}

function reportFailure (error: unknown, duration: number, { caller, log }: Settings): void {
  publish('fastify-logout:outage', () => ({ plugin: caller, question: 'poll', duration }))
  log.error({ err: error, event: 'logout.outage' }, 'a transmitter of security events could not be polled')
}

/** How long to wait after a failure: as long as the transmitter says, or longer each time, give or take a fifth. */
function backoff (error: unknown, failures: number): number {
  if (error instanceof PollFailure && error.retryAfter !== undefined) return error.retryAfter
  return Math.min(pause * 2 ** failures, longestBackoff) * (0.8 + 0.4 * Math.random())
}

async function waitFor (milliseconds: number, signal: AbortSignal): Promise<void> {
  await sleep(Math.max(0, milliseconds), undefined, { signal }).catch(() => {})
}

type Settings = ReturnType<typeof resolveOptions>

function resolveOptions (options: SecurityEventPollerOptions, caller: string) {
  const { stream, log = silent } = options
  assertGroup(stream, caller, 'stream', '{ issuer, audience, jwksUri, endpoint, authorization }')
  assertGrouped(options, caller, { stream: ['endpoint', 'authorization'] })
  const { endpoint, authorization, ...sender } = stream
  assertOption(isSecureUrl(endpoint), caller, 'stream.endpoint', 'must be an https URL without a password (http only for this machine)')
  assertOption(typeof authorization === 'function', caller, 'stream.authorization',
    'is missing: pass a function that returns the Authorization header')
  assertFunctions(options, caller, ['fetch'])
  const known = resolveStream(sender, { caller, at: 'stream' }, callTimeout)
  const ask = askWithin(callTimeout, caller, log)
  return {
    caller,
    endpoint,
    log,
    timeout: duration(options.timeout, 65_000, caller, 'timeout'),
    fetch: options.fetch ?? ((url, init) => globalThis.fetch(url, init)) as typeof globalThis.fetch,
    authorize: async () => ask('stream.authorization', authorization),
    receive: eventReceiver(options, [known], { caller, timeout: callTimeout, log })
  }
}
