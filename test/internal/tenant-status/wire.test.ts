import t from 'tap'
import { resolveWire, textOf, wireMembers, type TenantWireOptions } from '../../../lib/internal/tenant-status/wire.ts'

t.test('names and codes are the vendor\'s unless the host has others', async t => {
  const { missingHeaders, ...wire } = resolveWire(undefined, 'aPlugin')
  t.strictSame(wire, {
    capability: 'logout',
    tenantHeader: 'x-tenant-token',
    acceptBearerPrefix: false,
    wwwAuthenticate: undefined,
    refusals: {
      tenant: { status: 401, code: 'INVALID_TENANT_TOKEN', message: 'Invalid tenant token' },
      user: { status: 401, code: 'INVALID_USER_TOKEN', message: 'Invalid user token' },
      expired: { status: 401, code: 'INVALID_USER_TOKEN', message: 'Invalid user token' }
    }
  })
  t.strictSame(missingHeaders({ headers: {} }), [])

  const other = resolveWire({
    capability: 'sign-out',
    tenantHeader: 'X-Tenant',
    acceptBearerPrefix: true,
    wwwAuthenticate: 'Bearer',
    errorCodes: { tenant: 'T', user: 'U' }
  }, 'aPlugin')
  t.match(other, { capability: 'sign-out', tenantHeader: 'x-tenant', acceptBearerPrefix: true, wwwAuthenticate: 'Bearer' })
  t.strictSame(Object.values(other.refusals).map(({ code }) => code), ['T', 'U', 'U'])
  t.equal(resolveWire({ errorCodes: { user: 'U', expired: 'E' } }, 'aPlugin').refusals.expired.code, 'E')
})

t.test('a required header may be in any case, and is missing when it is blank', async t => {
  const clientHeaders = ['X-Client', 'x-version']
  const { missingHeaders } = resolveWire({ clientHeaders }, 'aPlugin')
  clientHeaders.pop()
  t.strictSame(missingHeaders({ headers: {} }), ['x-client', 'x-version'])
  t.strictSame(missingHeaders({ headers: { 'x-client': ' ', 'x-version': '1' } }), ['x-client'])
  t.strictSame(missingHeaders({ headers: { 'x-client': 'app', 'x-version': ['1', '2'] } }), [])
})

t.test('a wrong member is a TypeError that names it', async t => {
  const wrong: ReadonlyArray<readonly [option: string, options: unknown]> = [
    ['wire', null], ['wire', []], ['wire', 'x'], ['wire.capability', { capability: 1 }], ['wire.tenantHeader', { tenantHeader: 'a b' }],
    ['wire.tenantHeader', { tenantHeader: '' }], ['wire.clientHeaders', { clientHeaders: 'x-client' }],
    ['wire.acceptBearerPrefix', { acceptBearerPrefix: 1 }], ['wire.errorCodes', { errorCodes: [] }]
  ]
  for (const [option, options] of wrong) {
    t.throws(() => resolveWire(options as TenantWireOptions, 'aPlugin'), {
      name: 'TypeError', message: new RegExp(`^aPlugin: option "${option.replace('.', '\\.')}" must be`)
    })
  }
})

t.test('the members of the option are those that plugins refuse beside it', async t => {
  const every: Record<keyof TenantWireOptions, unknown> = {
    capability: 1, tenantHeader: 1, clientHeaders: 1, acceptBearerPrefix: 1, wwwAuthenticate: 1, errorCodes: 1
  }
  t.strictSame([...wireMembers].sort(), Object.keys(every).sort())
})

t.test('the text of a header has no white space around it', async t => {
  t.equal(textOf(undefined), '')
  t.equal(textOf(' a '), 'a')
  t.equal(textOf(['a', 'b']), 'a,b')
})
