import type { FastifyRequest } from 'fastify'
import { assertGroup, assertOption } from '../plugin/options.ts'
import type { TenantError } from './envelope.ts'

/** The error codes of refused tokens, for clients that expect others. */
export interface TenantErrorCodes {
  /** The code for a tenant token that is refused. @default 'INVALID_TENANT_TOKEN' */
  readonly tenant?: string | undefined
  /** The code for a user token that is refused. @default 'INVALID_USER_TOKEN' */
  readonly user?: string | undefined
  /** The code for a user token that is expired. @default the code of `user` */
  readonly expired?: string | undefined
}

/** The parts of the wire of `tenantStatusLogout` that differ between deployments. */
export interface TenantWireOptions {
  /** The capability that `isRestricted` is called with and that the 403 names. @default 'logout' */
  readonly capability?: string | undefined
  /** The header of the tenant token. @default 'x-tenant-token' */
  readonly tenantHeader?: string | undefined
  /** Headers that every client must send. A request without one of them is refused with 400. @default none */
  readonly clientHeaders?: readonly string[] | undefined
  /** Accept `x-token: Bearer <token>` too. @default false */
  readonly acceptBearerPrefix?: boolean | undefined
  /** The `WWW-Authenticate` header of a 401. @default none */
  readonly wwwAuthenticate?: string | undefined
  /** The error codes of refused tokens. */
  readonly errorCodes?: TenantErrorCodes | undefined
}

/** The members of {@link TenantWireOptions}: beside the option `wire` they would have no effect. */
export const wireMembers: ReadonlyArray<keyof TenantWireOptions> = [
  'capability', 'tenantHeader', 'clientHeaders', 'acceptBearerPrefix', 'wwwAuthenticate', 'errorCodes'
]

/** The wire, with what is not given. */
export interface TenantWire {
  readonly capability: string
  readonly tenantHeader: string
  /** The required headers that a request lacks. */
  readonly missingHeaders: (request: Pick<FastifyRequest, 'headers'>) => string[]
  readonly acceptBearerPrefix: boolean
  readonly wwwAuthenticate: string | undefined
  readonly refusals: Readonly<Record<keyof TenantErrorCodes, TenantError>>
}

/**
 * Returns the wire of the option `wire`.
 *
 * @throws {TypeError} for a member that is wrong
 */
export function resolveWire (options: TenantWireOptions = {}, caller: string): TenantWire {
  assertGroup(options, caller, 'wire', '{ capability, tenantHeader }')
  const {
    capability = 'logout', tenantHeader = 'x-tenant-token', clientHeaders = [], acceptBearerPrefix = false, errorCodes = {}
  } = options
  assertOption(typeof capability === 'string', caller, 'wire.capability', 'must be a string')
  assertOption(/^[\w-]+$/.test(tenantHeader), caller, 'wire.tenantHeader', 'must be the name of a header')
  assertOption(Array.isArray(clientHeaders), caller, 'wire.clientHeaders', 'must be a list of names of headers')
  assertOption(typeof acceptBearerPrefix === 'boolean', caller, 'wire.acceptBearerPrefix', 'must be true or false')
  assertGroup(errorCodes, caller, 'wire.errorCodes', '{ user }')
  const required = clientHeaders.map(name => name.toLowerCase())
  const { tenant = 'INVALID_TENANT_TOKEN', user = 'INVALID_USER_TOKEN', expired = user } = errorCodes
  return {
    capability,
    tenantHeader: tenantHeader.toLowerCase(),
    missingHeaders: ({ headers }) => required.filter(name => textOf(headers[name]) === ''),
    acceptBearerPrefix,
    wwwAuthenticate: options.wwwAuthenticate,
    refusals: {
      tenant: { status: 401, code: tenant, message: 'Invalid tenant token' },
      user: { status: 401, code: user, message: 'Invalid user token' },
      expired: { status: 401, code: expired, message: 'Invalid user token' }
    }
  }
}

/** The text of a header, without white space around it. */
export function textOf (header: string | string[] | undefined): string {
  return String(header ?? '').trim()
}
