import fc from 'fast-check'
import t from 'tap'
import { expiryWord, slotTable } from '../../../lib/internal/marks/slot-table.ts'

/** A fingerprint that differs from others of the same `group` only in its third word. */
function print (group: number, third: number): Uint32Array {
  return Uint32Array.of(Math.imul(group, 0x9e3779b1), group, third)
}

function put (table: ReturnType<typeof slotTable>, words: Uint32Array, until: number, second: number, content = 0): void {
  const slot = table.take(words, second)
  const shard = table.shard(words)
  shard[slot + expiryWord] = until
  if (content !== 0) shard[slot + 4] = content
}

/** A word of each slot at which `some` looks. */
function seen (table: ReturnType<typeof slotTable>, words: Uint32Array, second: number, place = 0): unknown[] {
  const found: unknown[] = []
  const holds = table.some(words, second, (shard, slot) => {
    found.push(shard[slot + place])
    return false
  })
  return holds ? ['it holds'] : found.sort()
}

t.test('slots keep what was written into them, through growth and sweeping, until their second', async t => {
  const step = fc.record({ group: fc.nat({ max: 40 }), third: fc.nat({ max: 2 }), life: fc.nat({ max: 6 }), pause: fc.nat({ max: 1 }) })
  const steps = fc.array(step, { maxLength: 200 })
  fc.assert(fc.property(steps, steps => {
    const table = slotTable(5)
    const model = new Map<string, { until: number, content: number }>()
    let second = 1
    for (const [index, { group, third, life, pause }] of steps.entries()) {
      second += pause
      if (life === 0) table.sweep(second)
      else put(table, print(group, third), second + life, second, index + 1)
      if (life > 0) model.set(`${group} ${third}`, { until: second + life, content: index + 1 })
    }
    return Array.from({ length: 41 * 3 }, (_, index) => [index % 41, Math.floor(index / 41)] as const).every(([group, third]) => {
      const slot = table.find(print(group, third), second)
      const known = model.get(`${group} ${third}`)
      if (known === undefined || known.until <= second) return slot === -1
      return slot !== -1 && table.shard(print(group, third))[slot + 4] === known.content
    })
  }), { numRuns: 300 })
})

t.test('some looks at every live slot that begins with the same two words, and no other', async t => {
  const table = slotTable(4)
  t.same(seen(table, print(1, 0), 1), [], 'nothing in an empty table')
  // The other groups share the shard: their second words differ by a multiple of 256.
  for (const group of [1, 257, 513]) {
    for (const third of [1, 2, 3, 4]) put(table, print(group, third), third === 4 ? 5 : 10, 1)
  }
  for (const group of [1, 257, 513]) {
    t.same(seen(table, print(group, 0), 6, 2), [1, 2, 3])
    t.equal(table.some(print(group, 0), 6, (shard, slot) => shard[slot + 2] === 2), true)
  }
  t.same(seen(table, print(769, 0), 6), [])
})

t.test('several slots may have one fingerprint, if the caller can tell them apart', async t => {
  const table = slotTable(5)
  const words = print(7, 7)
  for (const content of [1, 2, 3, 2, 1]) {
    const slot = table.take(words, 1, (shard, slot) => shard[slot + 4] === content)
    table.shard(words).set([10, content], slot + expiryWord)
  }
  for (let group = 0; group < 40; group++) put(table, print(group * 256 + 7, 1), 10, 1)
  t.same(seen(table, words, 1, 4), [0, 1, 2, 3], 'also after the shard was rebuilt')
  t.equal(table.count(), 43)
})

t.test('a slot that is taken again keeps what is in it, and is counted once', async t => {
  const table = slotTable(5)
  put(table, print(1, 1), 10, 1, 99)
  const bytes = table.bytes()
  for (let time = 0; time < 100; time++) put(table, print(1, 1), 20, 1)
  const slot = table.find(print(1, 1), 1)
  t.same([...table.shard(print(1, 1)).subarray(slot + expiryWord, slot + 5)], [20, 99])
  t.same([table.count(), table.bytes()], [1, bytes])
})

t.test('the slot of another fingerprint is not taken, whatever the caller finds in it', async t => {
  const table = slotTable(5)
  put(table, print(7, 7), 10, 1, 1)
  put(table, print(7, 8), 10, 1, 2)
  const slot = table.take(print(7, 7), 1, (shard, slot) => shard[slot + 4] === 2)
  t.same([...table.shard(print(7, 7)).subarray(slot + 2, slot + 5)], [7, 0, 0])
})

t.test('a slot that ran out is taken anew with zeros', async t => {
  const table = slotTable(5)
  put(table, print(1, 1), 10, 1, 99)
  t.equal(table.find(print(1, 1), 10), -1)
  const slot = table.take(print(1, 1), 10)
  t.same([...table.shard(print(1, 1)).subarray(slot + expiryWord, slot + 5)], [0, 0])
})

t.test('what ran out is given back, and what lives is not moved for nothing', async t => {
  const table = slotTable(4)
  for (let group = 0; group < 10_000; group++) put(table, print(group, 0), group % 2 === 0 ? 100 : 10, 1)
  const full = table.bytes()
  for (let call = 0; call < 5000; call++) table.sweep(1)
  t.equal(table.bytes(), full, 'everything lives')
  for (let call = 0; call < 5000; call++) table.sweep(100)
  t.equal(table.count(), 0)
  t.ok(table.bytes() < full / 2, `${table.bytes()} of ${full} bytes`)
})

t.test('the work of a sweep does not grow with the table', async t => {
  const work = (count: number) => {
    const table = slotTable(4)
    let looked = 0
    for (let group = 0; group < count; group++) {
      looked += table.sweep(1)
      put(table, print(group, 0), group % 3 === 0 ? 10 : 2, 1)
    }
    for (let call = 0; call < count; call++) looked += table.sweep(5)
    return looked / count
  }
  const [small, large] = [work(2000), work(64_000)] as const
  t.ok(small > 1 && large < 2 * small, `${small} slots for each mark of 2,000, ${large} for each of 64,000`)
})

t.test('a shard is rebuilt only when it is full, with room for half as much again', async t => {
  const table = slotTable(4)
  const shards = new Set<Uint32Array>()
  for (let group = 0; group < 1000; group++) {
    put(table, print(group * 256 + 7, 1), 10, 1)
    shards.add(table.shard(print(7, 1)))
  }
  t.ok(shards.size > 5 && shards.size < 20, `${shards.size} times for 1,000 slots`)
})
