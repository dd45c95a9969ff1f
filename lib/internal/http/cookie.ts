import type { FastifyInstance, FastifyReply } from 'fastify'
import { assertOption } from '../plugin/options.ts'

/**
 * A cookie as it was set. Browsers remove a cookie only if name, path, domain and partition are those it was set with.
 * The members are named as in `@fastify/cookie`, so that the same object can be used to set and to remove the cookie.
 */
export interface CookieIdentity {
  /** The name of the cookie. */
  readonly name: string
  /** The path that it was set with. @default '/' */
  readonly path?: string | undefined
  /** The domain that it was set with. @default none: the cookie belongs to the host alone */
  readonly domain?: string | undefined
  /** Whether browsers send it over https only. @default true */
  readonly secure?: boolean | undefined
  /** Whether scripts cannot read it. @default true */
  readonly httpOnly?: boolean | undefined
  /** With which requests of other sites browsers send it. @default 'lax' */
  readonly sameSite?: 'strict' | 'lax' | 'none' | undefined
  /** Whether it is kept apart for each site that embeds the host. @default false */
  readonly partitioned?: boolean | undefined
}

/** A cookie whose value is a credential. */
export interface CredentialCookie extends CookieIdentity {
  /** The value is signed by the host's `@fastify/cookie`. @default false */
  readonly signed?: boolean | undefined
}

/** The option that names a cookie, for errors of misuse. */
interface OptionName {
  readonly caller: string
  readonly option: string
}

/** Returns the values that a `Cookie` header has for one cookie, in order, without empty ones. */
export type ReadCookie = (header: string | undefined) => string[]

/**
 * Reads the values of one cookie: browsers send several of one name if their paths or domains differ. Of signed cookies,
 * only those with the host's signature are returned. If the host has `@fastify/cookie`, it decodes the values.
 *
 * @throws {TypeError} for signed cookies without `@fastify/cookie`
 */
export function cookieReader (fastify: FastifyInstance, cookie: CredentialCookie, { caller, option }: OptionName): ReadCookie {
  const { name, signed = false } = cookie
  const host = fastify as FastifyInstance & Partial<CookieHost>
  assertOption(!signed || typeof host.unsignCookie === 'function', caller, option,
    'is signed, which needs @fastify/cookie: register it, with a secret, before this plugin')
  const { parseCookie } = host
  const decode = parseCookie === undefined ? percentDecoded : (raw: string) => parseCookie(`${name}=${raw}`)[name]
  const valueOf = (raw: string) => {
    const value = decode(raw)
    return signed && value ? host.unsignCookie?.(value).value : value
  }

  return (header = '') => rawValues(header, name).flatMap(raw => valueOf(raw) || [])
}

/** The values of a cookie as the header has them, without the double quotes that RFC 6265 allows around a value. */
function rawValues (header: string, name: string): string[] {
  const values: string[] = []
  for (const pair of header.split(';')) {
    const equals = pair.indexOf('=')
    if (equals !== -1 && pair.slice(0, equals).trim() === name) values.push(pair.slice(equals + 1).trim().replace(/^"(.*)"$/s, '$1'))
  }
  return values
}

/** Removes a cookie from the client. */
export type RemoveCookie = (reply: FastifyReply) => void

/**
 * Makes the function that removes a cookie from the client. The reply then has one `Set-Cookie` of that name: others that
 * the host set before on this reply are dropped.
 *
 * @throws {TypeError} for a combination that browsers reject: the cookie would stay
 */
export function cookieRemover (cookie: CookieIdentity, caller: string, option: string): RemoveCookie {
  const header = removedCookie(cookie, caller, option)
  const { name, ...attributes } = withDefaults(cookie)
  const remove: RemoveCookie = reply => {
    if (!clearByHost(reply, name, attributes)) reply.header('set-cookie', header)
  }
  return reply => {
    remember(reply, name, remove)
    remove(reply)
  }
}

/**
 * Removes a cookie with the host's `@fastify/cookie`, with attributes as that plugin takes them. A cookie of that name that
 * was set on the reply before is dropped. Without that plugin nothing is set, and the result is `false`.
 */
export function clearCookieOfHost (reply: FastifyReply, name: string, attributes: object): boolean {
  remember(reply, name, reply => { clearByHost(reply, name, attributes) })
  return clearByHost(reply, name, attributes)
}

/** What was removed with each reply: how, by the name of the cookie. */
const removals = new WeakMap<FastifyReply, Map<string, RemoveCookie>>()

function remember (reply: FastifyReply, name: string, remove: RemoveCookie): void {
  const removed = removals.get(reply) ?? new Map<string, RemoveCookie>()
  removals.set(reply, removed.set(name, remove))
}

/**
 * Removes once more what was removed with this reply, and was set or dropped since: by a hook of the host that sends a newer
 * token with each response, for example. To be called in the last `onSend` hook.
 */
export function removeAgain (reply: FastifyReply): void {
  for (const [name, remove] of removals.get(reply) ?? []) {
    const own = setCookieLines(reply).filter(line => line.startsWith(`${name}=`))
    if (own.length !== 1 || own[0]?.startsWith(`${name}=;`) !== true) remove(reply)
  }
}

/** Whether the host has `@fastify/cookie`, which then removes the cookie. */
function clearByHost (reply: FastifyReply, name: string, attributes: object): boolean {
  dropSetCookie(reply, name)
  // The plugin writes its cookies when the reply is sent, after the headers that are there.
  const { clearCookie } = reply as FastifyReply & Partial<CookieReply>
  if (typeof clearCookie !== 'function') return false
  clearCookie.call(reply, name, attributes)
  return true
}

function setCookieLines (reply: FastifyReply): string[] {
  return [reply.getHeader('set-cookie') ?? []].flat().map(String)
}

function dropSetCookie (reply: FastifyReply, name: string): void {
  const lines = setCookieLines(reply)
  const others = lines.filter(line => !line.startsWith(`${name}=`))
  if (others.length === lines.length) return
  reply.removeHeader('set-cookie')
  for (const line of others) reply.header('set-cookie', line)
}

function withDefaults (cookie: CookieIdentity) {
  const { name, path = '/', domain, secure = true, httpOnly = true, sameSite = 'lax', partitioned = false } = cookie
  return { name, path, domain, secure, httpOnly, sameSite, partitioned }
}

/**
 * Returns the `Set-Cookie` value that removes the cookie.
 *
 * @throws {TypeError} for a combination that browsers reject: the cookie would stay
 */
export function removedCookie (cookie: CookieIdentity, caller: string, option: string): string {
  const { name, path, domain, secure, httpOnly, sameSite, partitioned } = withDefaults(cookie)
  const check = (holds: boolean, hint: string) => assertOption(holds, caller, option, hint)
  check(/^[!#$%&'*+.^_`|~\w-]+$/.test(name), 'must have a name that can be the name of a cookie')
  check(/^\/[\u0020-\u003a\u003c-\u007e]*$/.test(path), 'must have a path that begins with a slash')
  check(domain === undefined || /^\.?[a-z\d-]+(\.[a-z\d-]+)*$/i.test(domain), 'must have a domain that is a host name')
  check(Object.hasOwn(sameSites, sameSite), 'must have a sameSite of "strict", "lax" or "none"')
  check(secure || sameSite !== 'none', 'must be secure: browsers accept sameSite "none" only then')
  check(secure || !partitioned, 'must be secure: browsers accept partitioned cookies only then')
  check(secure || !/^__(host|secure|http)-/i.test(name), 'must be secure, because its name begins with "__"')
  check(!/^__host-/i.test(name) || (path === '/' && domain === undefined),
    'must have path "/" and no domain, because its name begins with "__Host-"')
  check(httpOnly || !/^__(host-)?http-/i.test(name), 'must be httpOnly, because of its name')

  return [
    `${name}=`, `Path=${path}`, domain !== undefined && `Domain=${domain}`, 'Expires=Thu, 01 Jan 1970 00:00:01 GMT', 'Max-Age=0',
    httpOnly && 'HttpOnly', secure && 'Secure', `SameSite=${sameSites[sameSite]}`, partitioned && 'Partitioned'
  ].filter(part => part !== false).join('; ')
}

const sameSites = { strict: 'Strict', lax: 'Lax', none: 'None' }

/** What `@fastify/cookie` decorates the host with. */
interface CookieHost {
  parseCookie (header: string): Readonly<Record<string, string | undefined>>
  unsignCookie (value: string): { readonly value: string | null }
}

/** What `@fastify/cookie` decorates replies with. */
interface CookieReply {
  clearCookie (this: FastifyReply, name: string, attributes: object): unknown
}

function percentDecoded (raw: string): string {
  try {
    return decodeURIComponent(raw)
  } catch {
    return raw
  }
}
