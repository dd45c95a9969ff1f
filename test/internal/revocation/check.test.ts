import t from 'tap'
import {
  checkWithin, logOutage, resolveCheckOptions, revokedError, unknownError, usableCredential, type RevocationCheckOptions
} from '../../../lib/internal/revocation/check.ts'
import type { Credential } from '../../../lib/revocation-store.ts'
import { isTokenRejected } from '../../../lib/token-verifier.ts'

t.test('a store that answers plainly is answered plainly, and one that fails or hangs is an outage', async t => {
  t.equal(checkWithin({ check: () => 'live' }, 50, 'test')({ tokenId: 't' }), 'live')
  t.equal(await checkWithin({ check: async () => 'revoked' as const }, 50, 'test')({ tokenId: 't' }), 'revoked')
  t.throws(() => checkWithin({ check () { throw new Error('down') } }, 50, 'test')({}), { name: 'Outage', cause: { message: 'down' } })
  await t.rejects(async () => checkWithin({ check: () => new Promise(() => {}) }, 5, 'test')({}), {
    name: 'Outage', message: /revocations\.check/
  })
})

t.test('a credential without any id, or a promise of one, is refused', async t => {
  for (const credential of [{ tokenId: 't' }, { sessionId: 's' }, { subject: 'u' }, { subject: 0 }] as Credential[]) {
    t.equal(usableCredential(credential, 'test'), credential)
  }
  for (const none of [undefined, null]) t.equal(usableCredential(none, 'test'), undefined)
  const wrong: unknown[] = [{}, { issuer: 'i', tenant: 'v' }, { tokenId: '' }, { tokenId: null, sessionId: {}, subject: NaN }]
  for (const credential of wrong) {
    const message = /^test: option "credential" must return a credential with a token id, a session id or a subject, or undefined for none$/
    t.throws(() => usableCredential(credential as Credential, 'test'), { name: 'TypeError', message })
  }
  for (const promise of [Promise.resolve({ tokenId: 't' }), Promise.reject(new Error('no user'))]) {
    const message = /^test: option "credential" must not be async/
    t.throws(() => usableCredential(promise as Credential, 'test'), { name: 'TypeError', message })
  }
})

t.test('an outage is logged with its cause, which the error for the client does not contain', async t => {
  const lines: unknown[][] = []
  const log = { error: (...line: unknown[]) => { lines.push(line) } } as never
  const error = logOutage({ log }, new Error('secret detail'), 'allow')
  t.match(lines, [[{ err: error, event: 'revocation.outage', whenUnavailable: 'allow' }, /could not tell/]])
  t.match(error, { statusCode: 503, cause: { message: 'secret detail' } })
  t.notMatch(error.message, 'secret')
  t.equal(unknownError(1).cause, 1)
  t.equal(unknownError(1).message, 'it is unknown whether the credential is revoked: retry')
  t.match(revokedError(), { statusCode: 401, reason: 'revoked' })
  t.ok(isTokenRejected(revokedError()))
})

t.test('misuse is a TypeError that names the option', async t => {
  const revocations = { check: () => 'live' as const }
  const wrong: ReadonlyArray<readonly [options: unknown, message: RegExp]> = [
    [undefined, /"revocations" is missing/],
    [null, /"revocations" is missing/],
    [{}, /"revocations" is missing/],
    [{ revocations: null }, /"revocations" is missing/],
    [{ revocations: {} }, /"revocations" is missing/],
    [{ revocations, whenUnavailable: 'maybe' }, /"whenUnavailable" must be "refuse" or "allow"/],
    [{ revocations, timeout: 0 }, /"timeout" must be/]
  ]
  for (const [options, message] of wrong) {
    t.throws(() => resolveCheckOptions(options as RevocationCheckOptions, 'test'), { name: 'TypeError', message })
  }
  t.equal(resolveCheckOptions({ revocations }, 'test').whenUnavailable, 'refuse')
  t.equal(resolveCheckOptions({ revocations, whenUnavailable: 'allow' }, 'test').whenUnavailable, 'allow')
})
