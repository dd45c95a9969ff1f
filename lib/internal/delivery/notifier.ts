import type { SecureContextOptions } from 'node:tls'
import type { Awaitable } from '../../awaitable.ts'
import type { Delivery, DeliveryQueue, StopDelivering } from '../../delivery-queue.ts'
import { jwtSigner, type SigningKey } from '../jose/jwt-signer.ts'
import { askWithin, type Ask } from '../plugin/ask.ts'
import { assertFunction, assertOption, duration, lifetimeOf, wholeNumber } from '../plugin/options.ts'
import { addressPolicy } from './addresses.ts'
import { deliveryAttempt, type DeliveryLog } from './attempt.ts'
import { clientSlots } from './client-slots.ts'
import type { LogoutClient } from './clients.ts'
import { deliveriesOf, type ClientLogout } from './deliveries.ts'
import { firstAttempts, type FirstAttempts } from './first-attempts.ts'
import type { MessageSigner } from './logout-token.ts'
import { messageSender } from './send.ts'

/** Signs a JWT: returns it in its compact form. The header has the `typ`; add `alg` and `kid`. */
export type SignMessage = (claims: Readonly<Record<string, unknown>>, header: Readonly<Record<string, string>>) => Awaitable<string>

/** How much is done at once, and for how long. */
export interface DeliveryLimits {
  /** The most attempts at the same time. @default 20 */
  readonly parallel?: number | undefined
  /** The most attempts at the same time for one client: one that hangs does not hold up the others. @default 4 */
  readonly parallelPerClient?: number | undefined
  /** How long an attempt may take to find the client and sign, and how long to send, in milliseconds. @default 5000 */
  readonly timeout?: number | undefined
  /** How long a delivery with a `sid` is attempted, in milliseconds. @default 86400000 */
  readonly sessionLifetime?: number | undefined
  /**
   * How long a delivery without a `sid` is attempted, in milliseconds. It is shorter, because a late one ends newer logins too
   * at receivers that ignore `toe`. @default 3600000
   */
  readonly subjectLifetime?: number | undefined
}

/** Where messages may be sent, and how. */
export interface DeliveryNetwork {
  /** Whether clients may have a URL with `http:`. @default false */
  readonly allowInsecure?: boolean | undefined
  /** Addresses and networks of clients that are not on the Internet, such as `10.0.0.0/8`. @default [] */
  readonly allowAddresses?: readonly string[] | undefined
  /** Resolves a host name to IP addresses. Each of them is judged. @default by DNS, as Node does */
  readonly resolve?: ((hostname: string) => Awaitable<readonly string[]>) | undefined
  /** For clients with certificates of a private authority, or that demand one. @default Node's */
  readonly tls?: Pick<SecureContextOptions, 'ca' | 'cert' | 'key'> | undefined
}

/** The options of `logoutNotifier`. `findClient` and `queue` are required; `issuer` and `sign` for all clients but webhooks. */
export interface LogoutNotifierOptions {
  /** The `iss` of the tokens: this host as a provider. */
  readonly issuer?: string | undefined
  /** A private key, or a function that signs. */
  readonly sign?: SigningKey | SignMessage | undefined
  /** Returns the client, as it is now. It is asked for each attempt; without a client, or a URL of it, nothing is sent. */
  readonly findClient: (clientId: string) => Awaitable<LogoutClient | undefined | null>
  /** Keeps deliveries until they are done. */
  readonly queue: DeliveryQueue
  /**
   * How long `notify` also waits for the first attempts of this process, in milliseconds, so that the clients know before the
   * user is sent on. It does not wait where nothing was started, and 0 never waits. @default 2000
   */
  readonly wait?: number | undefined
  /** How much is done at once, and for how long. */
  readonly limits?: DeliveryLimits | undefined
  /** Where messages may be sent, and how. */
  readonly network?: DeliveryNetwork | undefined
  /** Where failures are logged, such as `app.log`. @default nothing is logged */
  readonly log?: DeliveryLog | undefined
}

/** How `notify` puts deliveries into the queue. */
export interface NotifyOptions {
  /** Another way into the same queue, such as one that is part of a transaction. Attempts are not waited for then. */
  readonly queue?: Pick<DeliveryQueue, 'enqueue'> | undefined
}

/** Notifies other applications of logouts. `logoutNotifier` makes it. */
export interface LogoutNotifier {
  /**
   * Puts a message for each client into the queue, and resolves once they are durable. Rejects with an error whose
   * `statusCode` is 503 if the queue fails or is late, and with a `TypeError` for a logout without `subject` and `sid`, or
   * without `sid` for a client with `sessionRequired`. It can be repeated: equal logouts that still wait are delivered once.
   */
  notify (logouts: readonly ClientLogout[], options?: NotifyOptions): Promise<void>
  /** Begins to deliver in this process, and resolves to the function that stops it. A second call starts nothing more. */
  start (): Promise<() => Promise<void>>
  /** Stops delivering. Resolves when the attempts in hand are over. A memory queue logs what is lost. */
  stop (): Promise<void>
}

const silent: DeliveryLog = { warn () {}, error () {} }

/** @throws {TypeError} for an option that is missing or wrong */
export function notifier (options: LogoutNotifierOptions, caller: string): LogoutNotifier {
  const settings = resolveOptions(options, caller)
  let working: Promise<StopDelivering> | undefined

  const stop = async (): Promise<void> => {
    const stopWorking = await working
    working = undefined
    const lost = await stopWorking?.() ?? 0
    if (lost > 0) settings.log.error({ event: 'logout.deliveries-lost', lost }, `${lost} deliveries are lost with this process`)
  }

  return {
    async notify (logouts, { queue } = {}) {
      const deliveries = await deliveriesOf(logouts, clientId => settings.ask('findClient', () => settings.findClient(clientId)))
      const wait = working === undefined || queue !== undefined ? 0 : settings.wait
      await putIn(deliveries, { ...settings, queue: queue ?? settings.queue, wait })
    },

    async start () {
      working ??= startWork(settings)
      try {
        await working
      } catch (error) {
        working = undefined
        throw error
      }
      return stop
    },

    stop
  }
}

async function startWork ({ queue, attempt, parallel, timeout }: Settings): Promise<StopDelivering> {
  return queue.work(attempt, { parallel, timeout: 2 * timeout })
}

interface Entrance {
  readonly ask: Ask
  readonly queue: Pick<DeliveryQueue, 'enqueue'>
  readonly first: FirstAttempts
  readonly wait: number
}

async function putIn (deliveries: readonly Delivery[], { ask, queue, first, wait }: Entrance): Promise<void> {
  const expected = first.expect(deliveries.map(({ id }) => id))
  try {
    await ask('queue.enqueue', () => queue.enqueue(deliveries))
    if (wait > 0 && deliveries.length > 0) await expected.wait(wait)
  } catch (error) {
    throw Object.assign(error as Error, { statusCode: 503 })
  } finally {
    expected.forget()
  }
}

type Settings = ReturnType<typeof resolveOptions>

function resolveOptions (options: LogoutNotifierOptions, caller: string) {
  const { findClient, queue, wait, log = silent } = options
  assertOption(typeof findClient === 'function', caller, 'findClient', 'must be a function that returns the client of an id')
  const isQueue = (['enqueue', 'work'] as const).every(name => typeof queue?.[name] === 'function')
  assertOption(isQueue, caller, 'queue', 'must be a delivery queue, such as memoryDeliveryQueue()')
  assertOption(wait === 0 || duration(wait, 2000, caller, 'wait') > 0, caller, 'wait', 'must not be negative')
  const { limits, send, timeout } = resolveNetwork(options, caller)
  const ask = askWithin(timeout, caller)
  const first = firstAttempts()
  const signer = resolveSigner(options, caller, ask)
  const attempt = deliveryAttempt({
    ask, findClient, signer, send, first, timeout, log, slots: clientSlots(limits.parallelPerClient), lifetimes: limits.lifetimes
  })
  return { ask, findClient, queue, first, attempt, timeout, log, parallel: limits.parallel, wait: wait ?? 2000 }
}

function resolveNetwork ({ limits = {}, network = {} }: LogoutNotifierOptions, caller: string) {
  const { allowInsecure = false, allowAddresses = [], resolve, tls } = network
  assertOption(typeof allowInsecure === 'boolean', caller, 'network.allowInsecure', 'must be true or false')
  assertFunction(resolve, caller, 'network.resolve')
  const isAllowedAddress = addressPolicy(allowAddresses, caller, 'network.allowAddresses')
  const timeout = duration(limits.timeout, 5000, caller, 'limits.timeout')
  return {
    timeout,
    send: messageSender({ timeout, allowInsecure, isAllowedAddress, resolve, tls }),
    limits: {
      parallel: wholeNumber(limits.parallel, caller, 'limits.parallel', { standard: 20, least: 1 }),
      parallelPerClient: wholeNumber(limits.parallelPerClient, caller, 'limits.parallelPerClient', { standard: 4, least: 1 }),
      lifetimes: {
        session: lifetimeOf(limits.sessionLifetime, 86_400_000, caller, 'limits.sessionLifetime'),
        subject: lifetimeOf(limits.subjectLifetime, 3_600_000, caller, 'limits.subjectLifetime')
      }
    }
  }
}

function resolveSigner ({ issuer, sign }: LogoutNotifierOptions, caller: string, ask: Ask): MessageSigner | undefined {
  if (issuer === undefined && sign === undefined) return undefined
  assertOption(typeof issuer === 'string' && issuer !== '', caller, 'issuer', 'must be a non-empty string, and is needed for "sign"')
  if (typeof sign === 'function') return { issuer, sign: (claims, header) => ask('sign', () => sign(claims, header)) }
  assertOption(typeof sign === 'object' && sign !== null, caller, 'sign', 'must be { privateKey, algorithm, keyId } or a function')
  return { issuer, sign: jwtSigner(sign, caller, 'sign') }
}
