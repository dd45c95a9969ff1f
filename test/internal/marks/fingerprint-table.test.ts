import fc from 'fast-check'
import t from 'tap'
import { fingerprintTable } from '../../../lib/internal/marks/fingerprint-table.ts'
import { markId } from '../../../lib/internal/marks/id.ts'
import type { KeyedHash } from '../../../lib/internal/marks/keyed-hash.ts'

const now = Date.now()
const hour = 3_600_000

t.test('a hundred thousand marks take at most 40 bytes each, are all found, and nothing else is', async t => {
  const table = fingerprintTable()
  const count = 100_000
  for (let index = 0; index < count; index++) table.add({ kind: 0, id: `token-${index}` }, now + hour, now)
  t.ok(table.size() / count <= 40, `${table.size() / count} bytes`)
  let found = 0
  let mistaken = 0
  for (let index = 0; index < count; index++) {
    if (table.has({ kind: 0, id: `token-${index}` }, now)) found++
    if (table.has({ kind: 1, id: `token-${index}` }, now) || table.has({ kind: 0, id: `token-${index}!` }, now)) mistaken++
  }
  t.same({ found, mistaken }, { found: count, mistaken: 0 })
})

/** Every fingerprint begins alike, so that all ids meet in one shard and one run of slots. */
const poor: KeyedHash = (kind, text, out) => {
  out.set([0xffff_ffff, 0, kind === 0xff ? 1000 * Number(text) : Number(text)])
  return true
}
const lives = fc.integer({ min: 0, max: 5 })
const pauses = fc.integer({ min: 0, max: 2 })

t.test('the table agrees with a Map, also when every fingerprint begins alike', async () => {
  const steps = fc.array(fc.record({ text: fc.nat({ max: 30 }).map(String), life: lives, pause: pauses }), { maxLength: 100 })
  fc.assert(fc.property(steps, steps => {
    const table = fingerprintTable(poor)
    const model = new Map<string, number>()
    let clock = 1000
    return steps.every(({ text, life, pause }) => {
      clock += pause * 1000
      const known = model.get(text) ?? 0
      const until = clock + life * 1000
      const isNews = table.add({ kind: 0, id: text }, until, clock)
      if (life > 0 && known < until) model.set(text, until)
      if (life === 3) table.sweep(clock)
      const agrees = Array.from({ length: 31 }, (_, key) => `${key}`).every(id =>
        table.has({ kind: 0, id }, clock) === ((model.get(id) ?? 0) > clock))
      return isNews === (life > 0 && known <= clock) && agrees
    })
  }), { numRuns: 500 })
})

t.test('issuers keep ids apart where both sides name one, also when every fingerprint begins alike', async () => {
  // The one fingerprint of an id and the other fingerprints of its issuers differ in one word, which the poor hash fills.
  const distinct: KeyedHash = (kind, text, out) => {
    out.set([0xffff_ffff, kind === 0xff ? 0 : 256 * Number(text), 0])
    if (kind === 0xff) out[0] = Number(text) + 1
    return true
  }
  const issuers = fc.option(fc.constantFrom('0', '1', '2'), { nil: undefined })
  const ids = fc.nat({ max: 5 }).map(String)
  const steps = fc.array(fc.record({ id: ids, issuer: issuers, life: lives, pause: pauses }), { maxLength: 60 })
  fc.assert(fc.property(steps, steps => {
    const table = fingerprintTable(distinct)
    const added: Array<{ id: string, issuer: string | undefined, until: number }> = []
    let clock = 1000
    return steps.every(({ id, issuer, life, pause }) => {
      clock += pause * 1000
      const until = clock + life * 1000
      const isNews = table.add({ kind: 0, id, issuer }, until, clock)
      const wasThere = added.some(one => one.id === id && one.issuer === issuer && one.until > clock)
      added.push({ id, issuer, until })
      if (life === 3) table.sweep(clock)
      const expected = (id: string, issuer: string | undefined) => added.some(one => one.id === id && one.until > clock &&
        (one.issuer === undefined || issuer === undefined || one.issuer === issuer))
      return isNews === (life > 0 && !wasThere) && ['0', '1', '2', '3', '4', '5'].every(id =>
        ['0', '1', '2', '3', undefined].every(issuer => table.has({ kind: 0, id, issuer }, clock) === expected(id, issuer)))
    })
  }), { numRuns: 1000 })
})

t.test('an id is found by itself alone: neither by its stored form nor by the stored form of another', async () => {
  const ids = fc.oneof(
    fc.string({ minLength: 1, maxLength: 200 }),
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 200 }),
    fc.constantFrom('#', '#a', `#${'a'.repeat(43)}`, 'a'.repeat(128), 'a'.repeat(129), `${'a'.repeat(127)}\n`)
  )
  fc.assert(fc.property(ids, ids, fc.boolean(), (id, other, isDigest) => {
    const table = fingerprintTable()
    if (isDigest) table.add({ kind: 0, id: markId(id), isDigest }, now + hour, now)
    else table.add({ kind: 0, id }, now + hour, now)
    return table.has({ kind: 0, id }, now) && !table.has({ kind: 1, id }, now) &&
      table.has({ kind: 0, id: other }, now) === (other === id) && table.has({ kind: 0, id: markId(id) }, now) === (markId(id) === id)
  }))
})

t.test('an issuer of any characters is compared in its stored form', async t => {
  const table = fingerprintTable()
  const issuer = `https://id.example.com/${'ä'.repeat(200)}`
  table.add({ kind: 0, id: 'id', issuer: markId(issuer) }, now + hour, now)
  t.equal(table.has({ kind: 0, id: 'id', issuer }, now), true)
  t.equal(table.has({ kind: 0, id: 'id', issuer: `${issuer}/` }, now), false)
  t.equal(table.has({ kind: 0, id: 'id' }, now), true)
})
