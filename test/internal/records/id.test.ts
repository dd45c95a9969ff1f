import t from 'tap'
import { assertTime, idText, isWellFormed } from '../../../lib/internal/records/id.ts'

t.test('a string stays as it is, and a whole number becomes its digits', async t => {
  t.strictSame(['', 'alice', '07', 7, 0, -7, 2 ** 53 - 1, 12345678901234567890n].map(id => idText(id, 'the id')),
    ['', 'alice', '07', '7', '0', '-7', '9007199254740991', '12345678901234567890'])
})

t.test('anything else is a TypeError whose message does not contain it', async t => {
  for (const id of [undefined, null, true, 1.5, NaN, Infinity, 2 ** 53, {}, ['alice'], Symbol('alice')]) {
    t.throws(() => idText(id, 'the id of a tenant'), { name: 'TypeError', message: 'the id of a tenant must be a string' })
  }
})

t.test('a text with a NUL or a lone surrogate is not well-formed', async t => {
  t.same(['', 'alice', '😀', '\u0301', 'a\0', '\ud800', 'a\udc00'].map(isWellFormed), [true, true, true, true, false, false, false])
})

t.test('a time must be whole epoch milliseconds', async t => {
  for (const time of [0, 1, 1_800_000_000_000]) t.doesNotThrow(() => assertTime(time, 'at'))
  for (const time of [-1, 1.5, NaN, Infinity, '1', undefined, 1n]) {
    t.throws(() => assertTime(time, 'createdAt of a session'), {
      name: 'TypeError', message: 'createdAt of a session must be whole epoch milliseconds'
    })
  }
})
