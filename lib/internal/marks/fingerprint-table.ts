import { keyedHash, type KeyedHash } from './keyed-hash.ts'
import { isShort, markId } from './id.ts'
import { expiryWord, slotTable } from './slot-table.ts'

const slotWords = 4
const issuerKind = 0xff
const latestSecond = 0xffff_ffff

/** An id of a kind. An issuer keeps equal ids apart. */
export interface KindOfId {
  readonly kind: number
  readonly id: string
  /** Whether the id is a digest already. A digest is never looked up. */
  readonly isDigest?: boolean
  readonly issuer?: string | undefined
}

/**
 * A set of ids, each until an instant, for millions of them: 21 to 32 bytes for each.
 *
 * It keeps keyed 96-bit fingerprints instead of the ids. With a million ids, an id that was never added is found with odds
 * of 1 in 10^22. If ids were added with issuers, an id that is looked up without an issuer is found with odds of 1 in 10^13.
 * Instants are kept in seconds, rounded up.
 */
export interface FingerprintTable {
  /** Adds an id, or makes it stay longer. Its issuer is in its stored form ({@link markId}). Returns whether it was not there. */
  add (entry: KindOfId, until: number, now: number): boolean
  /** Whether an id was added. An issuer keeps ids apart only if both sides name one. */
  has (entry: KindOfId, now: number): boolean
  /** Frees a little of the memory of ids that have ended. */
  sweep (now: number): void
  /** Bytes in use. */
  size (): number
}

/** An empty {@link FingerprintTable}. The hash is a parameter only for tests. */
export function fingerprintTable (hash: KeyedHash = keyedHash()): FingerprintTable {
  const table = slotTable(slotWords)
  const hashId = storedFormHash(hash)
  const print = new Uint32Array(3)
  const issuerPrint = new Uint32Array(3)
  let hasIssuers = false

  /** The third word of a fingerprint with an issuer: the other two are the same for all issuers of an id. */
  const wordOfIssuer = (hash: KeyedHash, issuer: string) => {
    hash(issuerKind, issuer, issuerPrint)
    return (word(print, 2) ^ word(issuerPrint, 0)) >>> 0
  }

  return {
    add ({ kind, id, isDigest, issuer }, until, now) {
      const expiry = secondOf(until)
      if (expiry <= now / 1000) return false
      if (isDigest === true) hash(kind, id, print)
      else hashId(kind, id, print)
      hasIssuers ||= issuer !== undefined
      if (issuer !== undefined) print[2] = wordOfIssuer(hash, issuer)
      const slot = table.take(print, now / 1000)
      const shard = table.shard(print)
      const known = word(shard, slot + expiryWord)
      if (known < expiry) shard[slot + expiryWord] = expiry
      return known === 0
    },
    has ({ kind, id, issuer }, now) {
      hashId(kind, id, print)
      if (!hasIssuers) return table.find(print, now / 1000) !== -1
      return table.some(print, now / 1000, (shard, slot) => {
        const third = word(shard, slot + 2)
        return issuer === undefined || third === print[2] || third === wordOfIssuer(hashId, issuer)
      })
    },
    sweep: now => { table.sweep(now / 1000) },
    size: () => table.bytes()
  }
}

/** The second until which an instant is kept. */
export function secondOf (until: number): number {
  return Math.min(Math.ceil(until / 1000), latestSecond)
}

/** A hash of the stored form of ids. Most ids are their own stored form: only for the others is it made. */
export function storedFormHash (hash: KeyedHash): KeyedHash {
  return (kind, id, out) => (isShort(id) && hash(kind, id, out)) || hash(kind, markId(id), out)
}

function word (words: Uint32Array, index: number): number {
  return words[index] as number
}
