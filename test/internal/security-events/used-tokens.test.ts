import t from 'tap'
import { usedTokens, type UsableToken } from '../../../lib/internal/security-events/used-tokens.ts'
import { askWithin } from '../../../lib/internal/plugin/ask.ts'
import { memoryRevocationStore } from '../../../lib/revocation-stores/memory.ts'
import type { Mark } from '../../../lib/revocation-store.ts'

const token: UsableToken = { issuer: 'https://login.example', jti: '1', until: Date.now() + 60_000.5, body: '{}' }

t.test('a token is new, then done for its body and used for every other one', async t => {
  const used = usedTokens(memoryRevocationStore(), askWithin(1000, 'aPlugin'))
  t.equal(await used.stateOf(token), 'new')
  await used.remember(token)
  t.equal(await used.stateOf(token), 'done')
  for (const body of ['{ }', '', '1']) t.equal(await used.stateOf({ ...token, body }), 'used')
  for (const other of [{ jti: '2' }, { issuer: 'https://login.example/' },
    { jti: '1,{}' }]) t.equal(await used.stateOf({ ...token, ...other }), 'new')
})

t.test('a token without a body is new or done', async t => {
  const used = usedTokens(memoryRevocationStore(), askWithin(1000, 'aPlugin'))
  const plain = { ...token, body: undefined }
  await used.remember(plain)
  t.equal(await used.stateOf(plain), 'done')
})

t.test('the token is asked for first, and both are remembered in one call, the body first', async t => {
  const asked: string[] = []
  const marks: Mark[] = []
  const used = usedTokens({
    check: ({ tokenId = '' }) => {
      asked.push(tokenId)
      return asked.length === 1 ? 'revoked' : 'live'
    },
    revoke: (...added) => {
      marks.push(...added)
      return true
    }
  }, askWithin(1000, 'aPlugin'))
  t.equal(await used.stateOf(token), 'used')
  await used.remember(token)
  t.strictSame(marks.map(mark => 'tokenId' in mark && mark.tokenId), asked.reverse())
  t.strictSame(marks.map(({ until }) => until), [Math.ceil(token.until), Math.ceil(token.until)], 'in whole milliseconds')
})
