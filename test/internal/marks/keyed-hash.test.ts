import t from 'tap'
import { keyedHash } from '../../../lib/internal/marks/keyed-hash.ts'

t.test('a fingerprint depends on the key, on the kind, and on every character', async t => {
  const one = keyedHash(Buffer.alloc(16, 7))
  const print = (kind: number, text: string, hash = one) => {
    const out = new Uint32Array(3)
    t.ok(hash(kind, text, out))
    return out.join()
  }
  const texts = [
    '', ' ', 'a', 'a ', 'ab', 'ba', 'abc', 'abd', 'Abc', 'abc ', 'abcd', 'abdc', 'dcba', 'abcda', 'abcdabcd', 'abcdabce', '~~~~~'
  ]
  const prints = texts.flatMap(text => [print(0, text), print(1, text), print(0, text, keyedHash())])
  t.equal(new Set(prints).size, prints.length)
  t.equal(print(0, 'abc'), print(0, 'abc'))
})

t.test('a character that is not of printable ASCII is seen wherever it stands', async t => {
  const hash = keyedHash()
  for (const character of ['\0', '\n', '\x1f', '\x7f', '\u0080', '\u00e4', '\u0161', '\u4e00', '\ud83d', '\uffff']) {
    for (let place = 0; place < 9; place++) t.notOk(hash(0, 'a'.repeat(place) + character + 'b'.repeat(8 - place), new Uint32Array(3)))
  }
  for (const character of [' ', '#', '~', 'a']) t.ok(hash(0, character.repeat(9), new Uint32Array(3)))
})
