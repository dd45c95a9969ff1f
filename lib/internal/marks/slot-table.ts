const shardCount = 256
const smallest = 8
const fullest = 0.75
const slotsForEachSweep = 8

/** Which word of a slot is the second until which it stays. The words before it are its fingerprint. */
export const expiryWord = 3

/** Whether a slot, which begins there in its shard, is meant. */
export type IsSlot = (shard: Uint32Array, slot: number) => boolean

/**
 * A hash table of slots of equal size, in arrays that the garbage collector does not scan. The first three words of a slot
 * are a fingerprint, the fourth is the second until which the slot stays, and the others are the caller's. Each call does a
 * bounded amount of work. Now and then a new slot also causes one of the 256 shards to be rebuilt.
 */
export interface SlotTable {
  /** The shard of a fingerprint, valid until the next `take` or `sweep`. All fingerprints with one second word share one. */
  shard (print: Uint32Array): Uint32Array
  /** Where in its shard the slot of this fingerprint begins; -1 if there is none, or its second has come. */
  find (print: Uint32Array, second: number): number
  /** Whether this holds for a live slot with the same first two words. */
  some (print: Uint32Array, second: number, holds: IsSlot): boolean
  /**
   * Finds a slot as `find` does, or makes one with zeros behind its fingerprint, whose second the caller must set then.
   * Where several slots have one fingerprint, `isSame` says which one is meant.
   */
  take (print: Uint32Array, second: number, isSame?: IsSlot): number
  /**
   * Looks at the next few slots, and frees the memory of a shard in which more than half of them have ended. Returns how
   * many slots it looked at.
   */
  sweep (second: number): number
  /** How many slots are taken, including those that have ended and were not swept yet. */
  count (): number
  /** Bytes in use. */
  bytes (): number
}

/** An empty {@link SlotTable}, with so many words in each slot: four or more. */
export function slotTable (slotWords: number): SlotTable {
  const words = Array.from({ length: shardCount }, () => new Uint32Array(0))
  const shards: Shards = { slotWords, words, used: new Uint32Array(shardCount) }

  return {
    shard: print => shardAt(shards, indexOf(print)),
    find (print, second) {
      const shard = shardAt(shards, indexOf(print))
      if (shard.length === 0) return -1
      const slot = slotOf(shard, print, slotWords)
      return word(shard, slot + expiryWord) > second ? slot : -1
    },
    some (print, second, holds) {
      const shard = shardAt(shards, indexOf(print))
      if (shard.length === 0) return false
      const isMeant = (slot: number) => word(shard, slot) === print[0] && word(shard, slot + 1) === print[1] &&
        word(shard, slot + expiryWord) > second && holds(shard, slot)
      let slot = firstSlotOf(shard, word(print, 0), slotWords)
      while (word(shard, slot + expiryWord) !== 0) {
        if (isMeant(slot)) return true
        slot = nextSlotOf(shard, slot, slotWords)
      }
      return false
    },
    take: (print, second, isSame = always) => take(shards, { print, second, isSame }),
    sweep: sweeper(shards),
    count: () => shards.used.reduce((sum, count) => sum + count, 0),
    bytes: () => shards.words.reduce((bytes, shard) => bytes + shard.byteLength, 0)
  }
}

interface Shards {
  readonly slotWords: number
  readonly words: Array<Uint32Array<ArrayBuffer>>
  /** For each shard how many of its slots are taken. */
  readonly used: Uint32Array
}

interface Wanted {
  readonly print: Uint32Array
  readonly second: number
  readonly isSame: IsSlot
}

function always (): boolean {
  return true
}

function indexOf (print: Uint32Array): number {
  return word(print, 1) % shardCount
}

function shardAt ({ words }: Shards, index: number): Uint32Array<ArrayBuffer> {
  return words[index] as Uint32Array<ArrayBuffer>
}

function take (shards: Shards, { print, second, isSame }: Wanted): number {
  const { slotWords, used } = shards
  const index = indexOf(print)
  if (word(used, index) >= fullest * shardAt(shards, index).length / slotWords) rebuild(shards, index, second)
  const shard = shardAt(shards, index)
  let slot = slotOf(shard, print, slotWords)
  while (word(shard, slot + expiryWord) !== 0) {
    if (isPrint(shard, slot, print) && isSame(shard, slot)) break
    slot = nextSlotOf(shard, slot, slotWords)
  }
  const known = word(shard, slot + expiryWord)
  if (known === 0) used[index] = word(used, index) + 1
  if (known <= second) {
    for (let place = 0; place < slotWords; place++) shard[slot + place] = place < expiryWord ? word(print, place) : 0
  }
  return slot
}

/** Where the first slot with this fingerprint is, or the empty slot where it belongs. There always is an empty one. */
function slotOf (shard: Uint32Array, print: Uint32Array, slotWords: number): number {
  let slot = firstSlotOf(shard, word(print, 0), slotWords)
  while (word(shard, slot + expiryWord) !== 0 && !isPrint(shard, slot, print)) slot = nextSlotOf(shard, slot, slotWords)
  return slot
}

function isPrint (shard: Uint32Array, slot: number, print: Uint32Array): boolean {
  return word(shard, slot) === print[0] && word(shard, slot + 1) === print[1] && word(shard, slot + 2) === print[2]
}

/** The slot in which the search for a fingerprint with this first word begins. */
function firstSlotOf (shard: Uint32Array, first: number, slotWords: number): number {
  return Math.floor(first / 0x1_0000_0000 * (shard.length / slotWords)) * slotWords
}

function nextSlotOf (shard: Uint32Array, slot: number, slotWords: number): number {
  return slot + slotWords === shard.length ? 0 : slot + slotWords
}

/** Copies what is live in a shard into a new one, with room for as much again. */
function rebuild (shards: Shards, index: number, second: number): void {
  const { slotWords } = shards
  const old = shardAt(shards, index)
  const count = countLive({ shard: old, from: 0, to: old.length, slotWords }, second)
  const shard = new Uint32Array(Math.max(smallest, count * 2) * slotWords)
  for (let slot = 0; slot < old.length; slot += slotWords) {
    if (word(old, slot + expiryWord) <= second) continue
    let empty = firstSlotOf(shard, word(old, slot), slotWords)
    while (word(shard, empty + expiryWord) !== 0) empty = nextSlotOf(shard, empty, slotWords)
    for (let place = 0; place < slotWords; place++) shard[empty + place] = word(old, slot + place)
  }
  shards.words[index] = shard
  shards.used[index] = count
}

interface Part {
  readonly shard: Uint32Array
  readonly slotWords: number
  readonly from: number
  readonly to: number
}

function countLive ({ shard, slotWords, from, to }: Part, second: number): number {
  let count = 0
  for (let slot = from; slot < to; slot += slotWords) {
    if (word(shard, slot + expiryWord) > second) count++
  }
  return count
}

/**
 * Goes through the shards again and again, a few slots with each call. A shard of which less than half is live when its end
 * is reached is rebuilt. If each call looked at a whole shard, the work of a call would grow with the table.
 */
function sweeper (shards: Shards): (second: number) => number {
  const { slotWords, used } = shards
  let index = 0
  let slot = 0
  let live = 0

  return second => {
    const shard = shardAt(shards, index)
    const to = Math.min(shard.length, slot + slotsForEachSweep * slotWords)
    const looked = (to - slot) / slotWords
    live += countLive({ shard, slotWords, from: slot, to }, second)
    slot = to
    if (slot < shard.length) return looked
    const isRebuilt = live < word(used, index) / 2
    if (isRebuilt) rebuild(shards, index, second)
    index = (index + 1) % shardCount
    slot = 0
    live = 0
    return isRebuilt ? looked + shard.length / slotWords : looked
  }
}

function word (words: Uint32Array, index: number): number {
  return words[index] as number
}
