import fc from 'fast-check'
import t from 'tap'
import { revocationStoreRules } from '../../lib/conformance/revocation-store.ts'
import { cutoffOf, isCutOff, joinCutoffs, marksOfCutoff, type Cutoff } from '../../lib/internal/marks/cutoff.ts'
import { fingerprintTable } from '../../lib/internal/marks/fingerprint-table.ts'
import { keyedHash } from '../../lib/internal/marks/keyed-hash.ts'
import { markId, subjectKey, subjectOfKey } from '../../lib/internal/marks/id.ts'
import { markSet } from '../../lib/internal/marks/set.ts'
import type { Credential, Mark, SubjectMark } from '../../lib/revocation-store.ts'
import { memoryRevocationStore } from '../../lib/revocation-stores/memory.ts'

const now = Date.now()
const hour = 3_600_000

t.test('the memory store keeps the rules of the contract', async t => {
  for (const rule of revocationStoreRules) {
    t.test(rule.name, () => rule.check(memoryRevocationStore))
  }
})

const names = fc.constantFrom('a', 'b', 'c')
const instants = fc.integer({ min: 0, max: 6 })
const lastingMark: fc.Arbitrary<Mark> = fc.oneof(
  fc.record({ tokenId: names, until: fc.integer({ min: 100, max: 103 }) }),
  fc.record({ sessionId: names, until: fc.integer({ min: 100, max: 103 }) }),
  fc.record({
    subject: names, tenant: fc.option(names, { nil: undefined }), cutoff: instants, except: fc.option(names, { nil: undefined }), until: fc.integer({ min: 100, max: 103 })
  })
)
const someFacts: fc.Arbitrary<Credential> = fc.record({
  tokenId: fc.option(names, { nil: undefined }),
  sessionId: fc.option(names, { nil: undefined }),
  subject: fc.option(names, { nil: undefined }),
  tenant: fc.option(names, { nil: undefined }),
  issuedAt: fc.option(instants, { nil: undefined })
})

function kills (mark: Mark, facts: Credential): boolean {
  if ('tokenId' in mark) return mark.tokenId === facts.tokenId
  if ('sessionId' in mark) return mark.sessionId === facts.sessionId
  return mark.subject === facts.subject && (mark.tenant === undefined || mark.tenant === facts.tenant) &&
    (facts.issuedAt === undefined || facts.issuedAt <= mark.cutoff) && (mark.except === undefined || mark.except !== facts.sessionId)
}

t.test('any order and any repetition of marks gives the verdicts that each mark would give alone', async () => {
  fc.assert(fc.property(fc.array(lastingMark, { maxLength: 8 }), fc.infiniteStream(fc.nat()), fc.array(someFacts, { minLength: 5 }), (marks, order, questions) => {
    const set = markSet()
    const shuffled = [...marks, ...marks].map(mark => ({ mark, rank: order.next().value })).sort((a, b) => a.rank - b.rank)
    for (const { mark } of shuffled) set.join(mark, 50)
    return questions.every(facts => (set.check(facts, 50) === 'revoked') === marks.some(mark => kills(mark, facts)))
  }), { numRuns: 2000 })
})

t.test('marks that two stores got apart, merged later, give the same verdicts as in one store', async () => {
  const subjectMark = fc.record({ cutoff: instants, except: fc.option(names, { nil: undefined }), until: fc.integer({ min: 100, max: 103 }) })
  const join = (marks: ReadonlyArray<Omit<SubjectMark, 'subject'>>) => marks.map(cutoffOf).reduce<Cutoff | undefined>((a, b) => a === undefined ? b : joinCutoffs(a, b), undefined)
  fc.assert(fc.property(fc.array(fc.tuple(subjectMark, fc.boolean()), { minLength: 1, maxLength: 8 }), marks => {
    const sides = [true, false].map(side => join(marks.filter(mark => mark[1] === side).map(mark => mark[0])))
    const merged = markSet()
    for (const side of sides) {
      if (side !== undefined) marksOfCutoff({ subject: 'u' }, side).forEach(mark => merged.join(mark, 50))
    }
    const whole = join(marks.map(mark => mark[0]))
    return ['a', 'b', 'c', 'd', undefined].every(sessionId => [undefined, 0, 1, 2, 3, 4, 5, 6, 7].every(issuedAt =>
      (merged.check({ subject: 'u', sessionId, issuedAt }, 99) === 'revoked') === (whole !== undefined && isCutOff(whole, { sessionId, issuedAt }, 99))
    ))
  }), { numRuns: 2000 })
})

t.test('joining cutoffs is commutative, associative and idempotent', async () => {
  const cutoffs = fc.record({ cutoff: instants, except: fc.option(names, { nil: undefined }), until: instants }).map(cutoffOf)
  fc.assert(fc.property(cutoffs, cutoffs, cutoffs, (a, b, c) => {
    const same = (x: Cutoff, y: Cutoff) => JSON.stringify(x) === JSON.stringify(y)
    return same(joinCutoffs(a, b), joinCutoffs(b, a)) && same(joinCutoffs(joinCutoffs(a, b), c), joinCutoffs(a, joinCutoffs(b, c))) && same(joinCutoffs(a, a), a)
  }))
})

t.test('marks outlive what they must kill, and then disappear', async t => {
  const set = markSet()
  set.join({ tokenId: 't', until: now + hour }, now)
  set.join({ sessionId: 's', until: now + hour }, now)
  set.join({ subject: 'u', cutoff: now, until: now + hour }, now)
  for (const facts of [{ tokenId: 't' }, { sessionId: 's' }, { subject: 'u' }]) {
    t.equal(set.check(facts, now + hour - 1), 'revoked')
    t.equal(set.check(facts, now + hour + 1000), 'live')
  }
})

t.test('what ran out gives its memory back to what comes', async t => {
  const set = markSet()
  for (let index = 0; index < 5000; index++) {
    set.join({ tokenId: `t${index}`, until: now + hour }, now)
    set.join({ subject: `u${index}`, cutoff: now, until: now + hour }, now)
  }
  const full = set.size()
  t.equal(full.subjects, 5000)
  for (let index = 0; index < 3000; index++) set.join({ tokenId: `later${index}`, until: now + 3 * hour }, now + 2 * hour)
  t.equal(set.size().subjects, 0)
  for (let index = 0; index < 3000; index++) set.claim(`k${index}`, now + 6 * hour, now + 5 * hour)
  t.ok(set.size().bytes < full.bytes)
  t.notOk(Array.from({ length: 3000 }, (_, index) => set.claim(`k${index}`, now + 6 * hour, now + 5 * hour)).includes(true))
})

t.test('a hundred thousand marks take at most 40 bytes each, are all found, and nothing else is', async t => {
  const table = fingerprintTable()
  const count = 100_000
  for (let index = 0; index < count; index++) table.add(0, `token-${index}`, now + hour, now)
  t.ok(table.size() / count <= 40, `${table.size() / count} bytes`)
  let found = 0
  let mistaken = 0
  for (let index = 0; index < count; index++) {
    if (table.has(0, `token-${index}`, now)) found++
    if (table.has(1, `token-${index}`, now) || table.has(0, `token-${index}!`, now)) mistaken++
  }
  t.same({ found, mistaken }, { found: count, mistaken: 0 })
})

t.test('the table agrees with a Map, also when every fingerprint begins alike', async () => {
  const poor: ReturnType<typeof keyedHash> = (kind, text, out) => { out.set([0xffff_ffff, 0, kind * 1000 + Number(text)]); return true }
  const steps = fc.array(fc.record({ text: fc.nat({ max: 30 }).map(String), life: fc.integer({ min: 0, max: 5 }), pause: fc.integer({ min: 0, max: 2 }) }), { maxLength: 100 })
  fc.assert(fc.property(steps, steps => {
    const table = fingerprintTable(poor)
    const model = new Map<string, number>()
    let clock = 1000
    return steps.every(({ text, life, pause }) => {
      clock += pause * 1000
      const known = model.get(text) ?? 0
      const changed = table.add(0, text, clock + life * 1000, clock)
      const wanted = life > 0 && known < clock + life * 1000
      if (wanted) model.set(text, clock + life * 1000)
      if (life === 3) table.sweep(clock)
      return changed === wanted && [...Array(31).keys()].every(key => table.has(0, String(key), clock) === ((model.get(String(key)) ?? 0) > clock))
    })
  }), { numRuns: 500 })
})

t.test('a fingerprint depends on the key, on the kind, and on every character', async t => {
  const one = keyedHash(Buffer.alloc(16, 7))
  const print = (kind: number, text: string, hash = one) => {
    const out = new Uint32Array(3)
    t.ok(hash(kind, text, out))
    return out.join()
  }
  const prints = ['', ' ', 'a', 'a ', 'ab', 'ba', 'abc', 'abd', 'Abc', 'abc ', 'abcd', 'abdc', 'dcba', 'abcda', 'abcdabcd', 'abcdabce', '~~~~~'].flatMap(text => [print(0, text), print(1, text), print(0, text, keyedHash())])
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

t.test('an id is found by its stored form, and only by that of its own', async () => {
  const ids = fc.oneof(fc.string({ minLength: 1, maxLength: 200 }), fc.string({ unit: 'grapheme', minLength: 1, maxLength: 200 }), fc.constantFrom('#', '#a', `#${'a'.repeat(43)}`, 'a'.repeat(128), 'a'.repeat(129), `${'a'.repeat(127)}\n`))
  fc.assert(fc.property(ids, ids, (id, other) => {
    for (const form of [id, markId(id)]) {
      const table = fingerprintTable()
      table.add(0, form, now + hour, now)
      if (!table.has(0, id, now) || !table.has(0, markId(id), now) || table.has(1, id, now)) return false
      if (table.has(0, other, now) !== (markId(other) === markId(id))) return false
    }
    return true
  }))
})

t.test('a number that a host gives for an id is its text', async t => {
  const store = memoryRevocationStore()
  const number = (id: number) => id as unknown as string
  store.revoke({ tokenId: '7', until: now + hour }, { sessionId: '8', until: now + hour }, { subject: '9', cutoff: now, until: now + hour })
  t.equal(store.check({ tokenId: number(7) }), 'revoked')
  t.equal(store.check({ tokenId: number(8) }), 'live')
  t.equal(store.check({ sessionId: number(8) }), 'revoked')
  t.equal(store.check({ subject: number(9), issuedAt: now - 1 }), 'revoked')
  t.equal(store.check({ subject: number(7), issuedAt: now - 1 }), 'live')
})

t.test('an id has one stored form, which is its own stored form', async () => {
  fc.assert(fc.property(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 200 }), fc.option(fc.string({ minLength: 1 }), { nil: undefined }), (subject, tenant) => {
    const found = subjectOfKey(subjectKey(subject, tenant))
    return markId(markId(subject)) === markId(subject) && /^[ -~]{1,128}$/.test(markId(subject)) &&
      found.subject === markId(subject) && found.tenant === (tenant === undefined ? undefined : markId(tenant))
  }))
})

t.test('listeners hear once of each mark that adds something', async t => {
  const store = memoryRevocationStore()
  const heard: Mark[] = []
  const stop = store.onRevoked(mark => heard.push(mark))
  const until = Date.now() + hour
  const marks: Mark[] = [{ tokenId: 't', until }, { sessionId: 's', until }, { subject: 'u', cutoff: now, until }]
  await store.revoke(...marks, ...marks)
  await store.revoke(...marks)
  t.same(heard, marks)
  await store.revoke({ subject: 'u', cutoff: now - 1, until }, { subject: 'u', cutoff: now, except: 'x', until })
  t.same(heard.length, 3)
  stop()
  await store.revoke({ tokenId: 'later', until })
  t.same(heard.length, 3)
})

t.test('a listener that throws is a warning, and the mark is made', async t => {
  const store = memoryRevocationStore()
  const warnings: unknown[] = []
  process.on('warning', warning => { warnings.push(warning.message) })
  store.onRevoked(() => { throw new Error('oops') })
  store.onRevoked(() => { throw 'text' }) // eslint-disable-line no-throw-literal
  store.revoke({ tokenId: 't', until: Date.now() + hour })
  t.equal(store.check({ tokenId: 't' }), 'revoked')
  await new Promise(resolve => setImmediate(resolve))
  t.same(warnings, ['oops', 'text'])
})
