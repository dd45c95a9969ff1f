import { keyedHash, type KeyedHash } from './keyed-hash.ts'
import { isShort, markId } from './id.ts'
import { expiryWord, slotTable } from './slot-table.ts'

const slotWords = 4
const issuerKind = 0xff
const latestSecond = 0xffff_ffff

/**
 * A set of ids, each until an instant, for millions of them: 21 to 32 bytes for each.
 *
 * It keeps keyed 96-bit fingerprints instead of the ids. With a million ids, an id that was never added is found with odds
 * of 1 in 10^22. If ids were added with issuers, an id that is looked up without an issuer is found with odds of 1 in 10^13.
 * Instants are kept in seconds, rounded up.
 */
export interface FingerprintTable {
  /** Adds an id in its stored form ({@link markId}), or makes it stay longer. Returns whether it was not there before. */
  add (kind: number, id: string, until: number, now: number, issuer?: string): boolean
  /** Whether an id was added. An issuer keeps ids apart only if both sides name one. */
  has (kind: number, id: string, now: number, issuer?: string): boolean
  /** Frees a little of the memory of ids that have ended. */
  sweep (now: number): void
  /** Bytes in use. */
  size (): number
}

/** An empty {@link FingerprintTable}. The hash is a parameter only for tests. */
export function fingerprintTable (hash: KeyedHash = keyedHash()): FingerprintTable {
  const table = slotTable(slotWords)
  const print = new Uint32Array(3)
  const issuerPrint = new Uint32Array(3)
  let hasIssuers = false

  /** The third word of a fingerprint with an issuer: the other two are the same for all issuers of an id. */
  const wordOfIssuer = (issuer: string) => {
    hash(issuerKind, issuer, issuerPrint)
    return (word(print, 2) ^ word(issuerPrint, 0)) >>> 0
  }

  const hasInScope = (second: number, issuer: string | undefined) => {
    const shard = table.shard(print)
    for (let slot = table.match(print, second, -1); slot !== -1; slot = table.match(print, second, slot)) {
      const third = word(shard, slot + 2)
      if (issuer === undefined || third === print[2] || third === wordOfIssuer(markId(issuer))) return true
    }
    return false
  }

  return {
    add (kind, id, until, now, issuer) {
      const expiry = secondOf(until)
      if (expiry <= now / 1000) return false
      hash(kind, id, print)
      if (issuer !== undefined) {
        hasIssuers = true
        print[2] = wordOfIssuer(issuer)
      }
      const slot = table.take(print, now / 1000)
      const shard = table.shard(print)
      const known = word(shard, slot + expiryWord)
      if (known < expiry) shard[slot + expiryWord] = expiry
      return known === 0
    },
    has (kind, id, now, issuer) {
      hashId(hash, kind, id, print)
      return hasIssuers ? hasInScope(now / 1000, issuer) : table.find(print, now / 1000) !== -1
    },
    sweep (now) {
      table.sweep(now / 1000)
    },
    size: () => table.bytes()
  }
}

/** The second until which an instant is kept. */
export function secondOf (until: number): number {
  return Math.min(Math.ceil(until / 1000), latestSecond)
}

/** Hashes the stored form of an id. Most ids are their own stored form: only for the others is it made. */
export function hashId (hash: KeyedHash, kind: number, id: string, out: Uint32Array): void {
  if (!isShort(id) || !hash(kind, id, out)) hash(kind, markId(id), out)
}

function word (words: Uint32Array, index: number): number {
  return words[index] as number
}
