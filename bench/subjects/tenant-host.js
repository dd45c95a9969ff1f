// The host of a tenant-status-style logout: tenants, and tokens that another server signs.
import { userToken } from './signinghub-host.js'

const tenants = new Map([['acme-tenant-token', 'acme']])

export const authenticateTenant = token => tenants.get(token)

/** So many that nobody is refused: the counting itself is measured. */
export const limit = { max: 1_000_000_000, window: 3_600_000 }

export function tenantRequest (index) {
  return {
    method: 'GET',
    path: '/auth/logout',
    headers: { 'x-tenant-token': 'acme-tenant-token', 'x-token': userToken(index, { tenant: 'acme' }) }
  }
}
