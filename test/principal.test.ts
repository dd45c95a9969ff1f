import t from 'tap'

import { optionalId, principalOf, type Principal } from '../lib/principal.ts'
import type { Claims } from '../lib/token-verifier.ts'

const alice: Principal = { subject: 'alice', actor: 'alice', tenant: undefined, sessionId: undefined, issuedAt: undefined }
const nobody: Principal = { ...alice, subject: undefined, actor: undefined }

/** Access tokens as the vendors document them, shortened to what could matter. */
const users: ReadonlyArray<[string, Claims, Principal]> = [
  ['a bare token', { sub: 'alice' }, alice],
  ['RFC 9068', { iss: 'https://as.example/', sub: 'alice', client_id: 's6BhdRkqt3', iat: 1618354090, jti: 'x', scope: 'openid' }, {
    ...alice, issuedAt: 1618354090_000
  }],
  ['Keycloak', {
    sub: 'alice',
    typ: 'Bearer',
    azp: 'web',
    sid: 's-1',
    iat: 1,
    preferred_username: 'alice@example.com',
    realm_access: { roles: [] }
  }, { ...alice, sessionId: 's-1', issuedAt: 1000 }],
  ['Keycloak before 24', { sub: 'alice', azp: 'web', session_state: 's-1' }, { ...alice, sessionId: 's-1' }],
  ['Auth0', { sub: 'auth0|alice', azp: 'app', gty: 'password', scope: 'openid', permissions: [] }, {
    ...alice, subject: 'auth0|alice', actor: 'auth0|alice'
  }],
  ['Auth0 with an organization', { sub: 'alice', azp: 'app', org_id: 'org_1' }, { ...alice, tenant: 'org_1' }],
  ['Entra v2', { sub: 'alice', oid: 'object', tid: 'tenant', azp: 'app', scp: 'read', sid: 's-1', ver: '2.0' }, {
    ...alice, tenant: 'tenant', sessionId: 's-1'
  }],
  ['Entra v1', { sub: 'alice', oid: 'object', tid: 'tenant', appid: 'app', idtyp: 'user', ver: '1.0' }, { ...alice, tenant: 'tenant' }],
  ['Azure AD B2C, where sub is the oid', { sub: 'alice', oid: 'alice', azp: 'app', scp: 'read' }, alice],
  ['Okta', { sub: 'alice', uid: '00u1', cid: '0oa1', scp: ['openid'] }, alice],
  ['Ory Hydra', { sub: 'alice', client_id: 'app', scp: ['openid'], ext: {} }, alice],
  [
    'a user whose name begins like that of a service account', { sub: 'alice', azp: 'web', preferred_username: 'service-account-alice' },
    alice
  ],
  ['an own tenant claim before all others', { sub: 'alice', tenant: 'own', tid: 'tid', org_id: 'org' }, { ...alice, tenant: 'own' }]
]

for (const [what, claims, principal] of users) {
  t.test(`the user of ${what}`, async (t) => t.strictSame(principalOf(claims), principal))
}

const applications: ReadonlyArray<[string, Claims]> = [
  ['RFC 9068', { sub: 'app', client_id: 'app' }],
  ['Keycloak', { sub: '5c3f', azp: 'My-App', client_id: 'My-App', preferred_username: 'service-account-my-app', clientHost: '10.0.0.1' }],
  ['Keycloak before 22', { sub: '5c3f', azp: 'app', clientId: 'app', preferred_username: 'service-account-app' }],
  ['Keycloak, introspected', { sub: '5c3f', client_id: 'app', username: 'service-account-app' }],
  ['Auth0', { sub: 'app@clients', azp: 'app', gty: 'client-credentials' }],
  ['Auth0 by gty alone', { sub: 'renamed', azp: 'app', gty: 'client-credentials' }],
  ['Auth0 by sub alone (RFC 9068 profile)', { sub: 'app@clients', client_id: 'app' }],
  ['Entra with idtyp', { sub: 'principal', oid: 'principal', tid: undefined, azp: 'app', idtyp: 'app', roles: ['x'] }],
  ['Entra with idtyp and a sub of its own', { sub: 'a', oid: 'b', azp: 'app', idtyp: 'app' }],
  ['Entra without idtyp', { sub: 'principal', oid: 'principal', azp: 'app', roles: ['x'] }],
  ['Okta', { sub: '0oa1', cid: '0oa1', scp: ['x'] }],
  ['Ory Hydra', { sub: 'app', client_id: 'app', scp: [] }],
  ['a token without a subject', { client_id: 'app' }],
  ['a token with an empty subject', { sub: '', client_id: '' }]
]

for (const [what, claims] of applications) {
  t.test(`a token of an application has no user: ${what}`, async (t) => t.strictSame(principalOf(claims), nobody))
}

t.test('the "act" claim names the actor', async (t) => {
  t.strictSame(principalOf({ sub: 'alice', act: { sub: 'bob', act: { sub: 'before' } } }), { ...alice, actor: 'bob' })
  t.strictSame(principalOf({ sub: 'alice', act: { client_id: 'app' } }), { ...alice, actor: 'app' })
  t.strictSame(principalOf({ sub: 'alice', act: null }), alice)
})

t.test('a token whose act has neither sub nor client_id has no user', async (t) => {
  for (const act of [{}, 'bob', [], { sub: ['bob'] }, { sub: '' }, 7, true]) {
    t.strictSame(principalOf({ sub: 'alice', act }), nobody, JSON.stringify(act))
  }
})

t.test('claims of other types are ignored', async (t) => {
  const odd = { tenant: ['a'], tid: 7.5, org_id: null, sid: {}, session_state: '', iat: '1', azp: ['alice'], oid: true }
  t.strictSame(principalOf({ sub: 'alice', ...odd }), alice)
  for (const sub of [{}, [], true, 1.5, NaN, 2 ** 53, '']) t.strictSame(principalOf({ sub }), nobody, String(sub))
})

t.test('an id that is a whole number is converted to text', async (t) => {
  const { subject, actor } = { subject: '23', actor: '23' }
  t.strictSame(principalOf({ sub: 23, tid: 1, sid: 0 }), { ...alice, subject, actor, tenant: '1', sessionId: '0' })
  t.strictSame(principalOf({ sub: 'alice', act: { sub: 7 } }), { ...alice, actor: '7' })
  for (const application of [{ client_id: 23 }, { azp: '23' }, { oid: 23 }, { cid: 7, username: 'service-account-7' }]) {
    t.strictSame(principalOf({ sub: 23, ...application }), nobody, JSON.stringify(application))
  }
})

t.test('optionalId returns an id as text, and undefined for anything else', async (t) => {
  for (const [id, text] of [
    ['alice', 'alice'], [' ', ' '], [7, '7'], [0, '0'], [-1, '-1'], [7n, '7'], [2n ** 70n, String(2n ** 70n)]
  ] as const) {
    t.equal(optionalId(id), text)
  }
  for (const other of ['', undefined, null, true, NaN, Infinity, 1.5, 2 ** 53, {}, [], ['alice'], Symbol('id')]) {
    t.equal(optionalId(other), undefined, String(other))
  }
})
