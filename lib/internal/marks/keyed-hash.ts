import { randomBytes } from 'node:crypto'

/**
 * Writes the 96-bit fingerprint of a text into `out`. The same text has another fingerprint for each `kind`. Returns `false`
 * for a text with other characters than printable ASCII: `out` then holds no fingerprint.
 */
export type KeyedHash = (kind: number, text: string, out: Uint32Array) => boolean

/**
 * V8 keeps strings in several forms. Once it has seen more than a few of them here, it would look up `text.charCodeAt` for
 * each character, which takes longer than everything else.
 */
const { charCodeAt } = String.prototype

/**
 * A hash for tables in memory, in the manner of HalfSipHash-1-3: without the key of 16 bytes, which is random and never
 * leaves the process, nobody can search for texts that collide. Do not use it for digests of secrets.
 * @see https://www.aumasson.jp/siphash/siphash.pdf
 */
export function keyedHash (key: Buffer = randomBytes(16)): KeyedHash {
  const [a, b, c, d] = [key.readInt32LE(0), key.readInt32LE(4), key.readInt32LE(8) ^ 0x6c796765, key.readInt32LE(12) ^ 0x74656462] as const
  const state = { a, b, c, d }

  return (kind, text, out) => {
    state.a = a
    state.b = b
    state.c = c
    state.d = d
    const { length } = text
    // Below zero once a character is out of the range.
    let range = 0
    let index = 0
    for (; index + 3 < length; index += 4) {
      const p = charCodeAt.call(text, index)
      const q = charCodeAt.call(text, index + 1)
      const r = charCodeAt.call(text, index + 2)
      const s = charCodeAt.call(text, index + 3)
      range |= rangeOf(p) | rangeOf(q) | rangeOf(r) | rangeOf(s)
      absorb(state, p | q << 8 | r << 16 | s << 24)
    }
    let rest = 0
    for (; index < length; index++) {
      const code = charCodeAt.call(text, index)
      range |= rangeOf(code)
      rest = rest << 8 | code
    }
    if (range < 0) return false
    absorb(state, rest)
    absorb(state, length << 8 | kind)
    for (let word = 0; word < 3; word++) {
      state.c ^= 0xff - word * 0x11
      mix(state)
      mix(state)
      mix(state)
      out[word] = state.b ^ state.d
    }
    return true
  }
}

/** Less than zero for a character that is not of printable ASCII. */
function rangeOf (code: number): number {
  return code - 0x20 | 0x7e - code
}

interface State { a: number, b: number, c: number, d: number }

function absorb (state: State, word: number): void {
  state.d ^= word
  mix(state)
  state.a ^= word
}

function mix (state: State): void {
  let { a, b, c, d } = state
  a = a + b | 0
  b = (b << 5 | b >>> 27) ^ a
  a = a << 16 | a >>> 16
  c = c + d | 0
  d = (d << 8 | d >>> 24) ^ c
  a = a + d | 0
  d = (d << 7 | d >>> 25) ^ a
  c = c + b | 0
  b = (b << 13 | b >>> 19) ^ c
  c = c << 16 | c >>> 16
  state.a = a
  state.b = b
  state.c = c
  state.d = d
}
