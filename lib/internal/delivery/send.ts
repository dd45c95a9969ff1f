import { lookup } from 'node:dns/promises'
import { request as requestHttp, type IncomingMessage, type RequestOptions } from 'node:http'
import { request as requestHttps } from 'node:https'
import { isIP } from 'node:net'
import type { SecureContextOptions } from 'node:tls'
import type { Awaitable } from '../../awaitable.ts'
import { retryAfterOf } from '../http/retry-after.ts'
import { ForbiddenAddressError, type IsAllowedAddress } from './addresses.ts'

/** A message that is ready to be sent, by POST. */
export interface OutgoingMessage {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** What a client responded. */
export interface ClientResponse {
  readonly status: number
  /** How long the client asks us to wait, in milliseconds. */
  readonly retryAfter: number | undefined
  /** At most 64 KiB of it. */
  readonly body: string
}

/** How messages are sent. */
export interface SendSettings {
  /** In milliseconds, from the resolution of the name to the end of the response. */
  readonly timeout: number
  readonly allowInsecure: boolean
  readonly isAllowedAddress: IsAllowedAddress
  readonly resolve: ((hostname: string) => Awaitable<readonly string[]>) | undefined
  readonly tls: Pick<SecureContextOptions, 'ca' | 'cert' | 'key'> | undefined
}

/** Sends a message. Rejects with a `ForbiddenAddressError`, or because there was no response. */
export type SendMessage = (message: OutgoingMessage) => Promise<ClientResponse>

const longestBody = 65_536

/**
 * Makes a function that sends messages. Redirects are not followed. Every address that a name resolves to is judged, and the
 * connection is made to these very addresses: a name that resolves to another address a moment later gains nothing.
 */
export function messageSender (settings: SendSettings): SendMessage {
  const { timeout, tls } = settings
  const judgedLookup = lookupOf(settings)

  return async ({ url, headers, body }) => {
    const target = targetOf(url, settings)
    const connection = { agent: false, lookup: judgedLookup, autoSelectFamily: true, ...tls }
    const options: RequestOptions = { method: 'POST', headers, ...connection }
    return new Promise((resolve, reject) => {
      const request = (target.protocol === 'https:' ? requestHttps : requestHttp)(target, options)
      let finish = (): void => { request.destroy(new Error(`no response within ${timeout} ms`)) }
      const timer = setTimeout(() => finish(), timeout)
      request.on('error', reject)
      request.on('close', () => {
        clearTimeout(timer)
        reject(new Error('the connection was closed before the response'))
      })
      request.on('response', response => {
        finish = () => { response.destroy() }
        readBody(response, text => resolve({ status: Number(response.statusCode), retryAfter: waitOf(response), body: text }))
      })
      request.end(body)
    })
  }
}

/** Reads what comes until the response ends, is cut or is too long. */
function readBody (response: IncomingMessage, done: (text: string) => void): void {
  const chunks: Buffer[] = []
  let length = 0
  response.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    length += chunk.length
    if (length >= longestBody) response.destroy()
  })
  response.on('error', () => {})
  response.on('close', () => done(Buffer.concat(chunks).subarray(0, longestBody).toString()))
}

function waitOf (response: IncomingMessage): number | undefined {
  return retryAfterOf(response.headers['retry-after'])
}

/** The URL, if messages may be sent to it. Node does not resolve IP addresses, so they are judged here. */
function targetOf (url: string, { allowInsecure, isAllowedAddress }: SendSettings): URL {
  const forbidden = (reason: string) => new ForbiddenAddressError(`the URL of the client ${reason}`)
  if (!URL.canParse(url)) throw forbidden('is not a URL')
  const target = new URL(url)
  const isSecure = target.protocol === 'https:' || (allowInsecure && target.protocol === 'http:')
  if (!isSecure) throw forbidden('must begin with https://')
  if (target.username !== '' || target.password !== '' || url.includes('#')) throw forbidden('has a user name, a password or a fragment')
  const address = target.hostname.replace(/^\[|\]$/g, '')
  if (isIP(address) !== 0 && !isAllowedAddress(address)) throw forbidden('has an address that is not allowed')
  return target
}

type Lookup = NonNullable<RequestOptions['lookup']>

function lookupOf ({ resolve = resolveByDns, isAllowedAddress }: SendSettings): Lookup {
  const judged = async (hostname: string) => {
    const addresses = await resolve(hostname)
    if (addresses.length === 0) throw new Error('the name of the client has no address')
    if (!addresses.every(isAllowedAddress)) throw new ForbiddenAddressError('the name of the client has an address that is not allowed')
    return addresses.map(address => ({ address, family: isIP(address) }))
  }
  return (hostname, _options, callback) => {
    judged(hostname).then(addresses => callback(null, addresses), (error: Error) => callback(error, []))
  }
}

async function resolveByDns (hostname: string): Promise<readonly string[]> {
  return (await lookup(hostname, { all: true })).map(({ address }) => address)
}
