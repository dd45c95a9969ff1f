import { keyedHash, type KeyedHash } from './keyed-hash.ts'
import { isShort, markId } from './id.ts'

const shardCount = 256
const slotWords = 4
const issuerKind = 0xff
const smallest = 8
const fullest = 0.75
const latestSecond = 0xffff_ffff

/**
 * A set of ids, each until an instant, for millions of them: 21 to 32 bytes for each, out of the garbage collector's
 * sight, and no step that takes longer than rebuilding one of its 256 shards.
 *
 * It keeps keyed 96-bit fingerprints instead of the ids. With a million of them, an id that was never added is taken
 * for one with odds of 1 in 10^22; where ids were added with issuers, one that is looked up without any, with odds of
 * 1 in 10^13. Instants are kept in seconds, rounded up.
 */
export interface FingerprintTable {
  /** Adds an id in its stored form ({@link markId}), or makes it stay longer. Returns whether it was not there before. */
  add (kind: number, id: string, until: number, now: number, issuer?: string): boolean
  /** Whether an id was added. An issuer keeps ids apart only if both sides name one. */
  has (kind: number, id: string, now: number, issuer?: string): boolean
  /** Gives back the memory of what ran out in one of the shards; the next call takes the next one. */
  sweep (now: number): void
  /** Bytes in use. */
  size (): number
}

/** An empty {@link FingerprintTable}. The hash is a parameter only for tests. */
export function fingerprintTable (hash: KeyedHash = keyedHash()): FingerprintTable {
  const shards = Array.from({ length: shardCount }, () => new Uint32Array(0))
  const used = new Uint32Array(shardCount)
  const print = new Uint32Array(4)
  const issuerPrint = new Uint32Array(3)
  let nextToSweep = 0
  let hasIssuers = false

  const shardOf = (index: number) => shards[index] as Uint32Array<ArrayBuffer>

  // Whether an id needs another form is seen while it is hashed: hardly one does.
  const fingerprint = (kind: number, id: string) => {
    if (!isShort(id) || !hash(kind, id, print)) hash(kind, markId(id), print)
  }

  /** The third word of a fingerprint with an issuer: the other two are the same for all issuers of an id. */
  const wordOfIssuer = (issuer: string) => {
    hash(issuerKind, issuer, issuerPrint)
    return (word(print, 2) ^ word(issuerPrint, 0)) >>> 0
  }

  const hasInScope = (shard: Uint32Array, second: number, issuer: string | undefined) => {
    for (let slot = firstSlotOf(shard, print); word(shard, slot + 3) !== 0; slot = nextSlotOf(shard, slot)) {
      if (word(shard, slot) !== print[0] || word(shard, slot + 1) !== print[1] || word(shard, slot + 3) <= second) continue
      const third = word(shard, slot + 2)
      if (issuer === undefined || third === print[2] || third === wordOfIssuer(markId(issuer))) return true
    }
    return false
  }

  const rebuild = (index: number, now: number) => {
    const rebuilt = compact(shardOf(index), now / 1000)
    shards[index] = rebuilt.shard
    used[index] = rebuilt.count
  }

  return {
    add (kind, id, until, now, issuer) {
      const expiry = Math.min(Math.ceil(until / 1000), latestSecond)
      if (expiry <= now / 1000) return false
      hash(kind, id, print)
      if (issuer !== undefined) {
        hasIssuers = true
        print[2] = wordOfIssuer(issuer)
      }
      const index = word(print, 1) % shardCount
      if (word(used, index) >= fullest * shardOf(index).length / slotWords) rebuild(index, now)
      const shard = shardOf(index)
      const slot = slotOf(shard, print)
      const known = word(shard, slot + 3)
      if (known >= expiry) return false
      if (known === 0) used[index] = word(used, index) + 1
      print[3] = expiry
      shard.set(print, slot)
      return known <= now / 1000
    },
    has (kind, id, now, issuer) {
      fingerprint(kind, id)
      const shard = shardOf(word(print, 1) % shardCount)
      if (shard.length === 0) return false
      return hasIssuers ? hasInScope(shard, now / 1000, issuer) : word(shard, slotOf(shard, print) + 3) > now / 1000
    },
    sweep (now) {
      const shard = shardOf(nextToSweep)
      if (countLive(shard, now / 1000) < word(used, nextToSweep) / 2) rebuild(nextToSweep, now)
      nextToSweep = (nextToSweep + 1) % shardCount
    },
    size: () => shards.reduce((bytes, shard) => bytes + shard.byteLength, 0)
  }
}

/** Where this fingerprint is, or the empty slot where it belongs. There always is an empty one. */
function slotOf (shard: Uint32Array, print: Uint32Array): number {
  const first = word(print, 0)
  let slot = firstSlotOf(shard, print)
  while (word(shard, slot + 3) !== 0) {
    if (word(shard, slot) === first && word(shard, slot + 1) === print[1] && word(shard, slot + 2) === print[2]) return slot
    slot = nextSlotOf(shard, slot)
  }
  return slot
}

/** The slot in which the search for a fingerprint begins. */
function firstSlotOf (shard: Uint32Array, print: Uint32Array): number {
  return Math.floor(word(print, 0) / 0x1_0000_0000 * (shard.length / slotWords)) * slotWords
}

function nextSlotOf (shard: Uint32Array, slot: number): number {
  return slot + slotWords === shard.length ? 0 : slot + slotWords
}

/** A shard with what is live in the old one, and room for more. */
function compact (old: Uint32Array, second: number): { shard: Uint32Array<ArrayBuffer>, count: number } {
  const count = countLive(old, second)
  const shard = new Uint32Array(Math.max(smallest, count * 2) * slotWords)
  const entry = new Uint32Array(slotWords)
  for (let slot = 0; slot < old.length; slot += slotWords) {
    if (word(old, slot + 3) <= second) continue
    for (let index = 0; index < slotWords; index++) entry[index] = word(old, slot + index)
    shard.set(entry, slotOf(shard, entry))
  }
  return { shard, count }
}

function countLive (shard: Uint32Array, second: number): number {
  let count = 0
  for (let slot = 3; slot < shard.length; slot += slotWords) {
    if (word(shard, slot) > second) count++
  }
  return count
}

function word (words: Uint32Array, index: number): number {
  return words[index] as number
}
