import fc from 'fast-check'
import t from 'tap'
import { assertMarks, claimEnd, idOfMark, isId, isShort, markId } from '../../../lib/internal/marks/id.ts'
import type { Mark } from '../../../lib/revocation-store.ts'
import { tokenDigest } from '../../../lib/token-digest.ts'

const until = Date.now() + 3_600_000
const ids = fc.oneof(fc.string({ minLength: 1, maxLength: 200 }), fc.string({ unit: 'grapheme', minLength: 1, maxLength: 200 }))

t.test('the stored form of an id is short and of printable ASCII', async () => {
  fc.assert(fc.property(ids, id => /^[ -~]{1,128}$/.test(markId(id))))
})

t.test('an id that is short and of printable ASCII is its own stored form, unless it begins with the sign of a digest', async t => {
  for (const id of ['a', 'a#', ' ', '~', 'https://id.example.com', 'a'.repeat(128)]) t.equal(markId(id), id)
  for (const id of ['#', '#a', `#${tokenDigest('a')}`, 'a'.repeat(129), 'ä', 'a\n', '\u0000']) t.equal(markId(id), `#${tokenDigest(id)}`)
  t.equal(markId(7 as unknown as string), '7')
})

t.test('different ids have different stored forms, however they are spelled', async () => {
  const spelled = ids.chain(id => fc.constantFrom(id, markId(id), markId(markId(id)), `#${tokenDigest(id)}`))
  fc.assert(fc.property(spelled, spelled, (a, b) => (markId(a) === markId(b)) === (a === b)))
})

t.test('only in a mark that a store gave out is a digest taken for the stored form that it is', async t => {
  const digest = `#${tokenDigest('a long id')}`
  t.equal(idOfMark(digest, { digested: true }), digest)
  t.equal(idOfMark(digest, {}), markId(digest))
  t.equal(idOfMark('plain', { digested: true }), 'plain')
  t.equal(idOfMark('ä', { digested: true }), markId('ä'))
  t.equal(idOfMark(7 as unknown as string, { digested: true }), '7')
})

t.test('ids are non-empty strings and whole numbers', async t => {
  for (const id of ['a', ' ', 0, 7, -1, Number.MAX_SAFE_INTEGER]) t.equal(isId(id), true, `${id}`)
  for (const id of ['', null, undefined, NaN, Infinity, 1.5, 2 ** 53, {}, [], true, 7n]) t.equal(isId(id), false, `${String(id)}`)
  t.same(['a', '#', 'a'.repeat(128), 'a'.repeat(129)].map(isShort), [true, false, true, false])
})

t.test('a claim ends at a whole millisecond, and must end at an instant', async t => {
  t.same([claimEnd(5), claimEnd(5.1), claimEnd(-0.5)], [5, 6, -0])
  for (const wrong of [NaN, Infinity, 2 ** 60, '5', undefined, null]) {
    t.throws(() => claimEnd(wrong as number), {
      name: 'TypeError', message: /^claimOnce: "until" must be an instant in epoch milliseconds$/
    })
  }
})

t.test('a malformed mark is a TypeError that names the member and no id', async t => {
  const wrong: ReadonlyArray<readonly [mark: object, message: RegExp]> = [
    [{ until }, /"tokenId", "sessionId" or "subject" must be a non-empty string/],
    [{ tokenId: '', until }, /"tokenId"/],
    [{ sessionId: {}, until }, /"tokenId"/],
    [{ tokenId: null, until }, /"tokenId"/],
    [{ tokenId: 'secret', until: 1.5 }, /"until" must be an instant in whole epoch milliseconds/],
    [{ tokenId: 'secret' }, /"until"/],
    [{ tokenId: 'secret', until, issuer: '' }, /"issuer" must be a non-empty string when it is given/],
    [{ subject: 'secret', until }, /"cutoff" must be an instant/],
    [{ subject: 'secret', cutoff: '1', until }, /"cutoff" must be an instant/],
    [{ subject: 'secret', cutoff: 1, tenant: '', until }, /"tenant" must be/],
    [{ subject: 'secret', cutoff: 1, except: {}, until }, /"except" must be/],
    [{ tokenId: '#secret', until, digested: true }, /"digested" is set/],
    [{ tokenId: 'a', issuer: '#secret', until, digested: true }, /"digested" is set/],
    [{ subject: 'a', tenant: '#secret', cutoff: 1, until, digested: true }, /"digested" is set/],
    [{ subject: 'a', except: '#secret', cutoff: 1, until, digested: true }, /"digested" is set/]
  ]
  for (const [mark, message] of wrong) {
    t.throws(() => assertMarks([{ tokenId: 't', until }, mark as Mark]), { name: 'TypeError', message })
    t.throws(() => assertMarks([mark as Mark]), { message: /^mark: (?!.*secret)/ })
  }
  t.throws(() => assertMarks([undefined as unknown as Mark]), { name: 'TypeError', message: /"tokenId"/ })
  assertMarks([{ tokenId: `#${tokenDigest('a')}`, issuer: 'i', until, digested: true }, { subject: '#a', cutoff: 0, until }])
})
