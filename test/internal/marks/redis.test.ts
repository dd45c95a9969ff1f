import fc from 'fast-check'
import t from 'tap'
import { rowsOfStored, rowsOfText, type StoredMark } from '../../../lib/internal/marks/redis.ts'
import { markOfRow } from '../../../lib/internal/marks/row.ts'

const latest = `${Number.MAX_SAFE_INTEGER}`

t.test('the text of marks gives the same rows as its JSON, whether it is read fast or not', async t => {
  const id = fc.oneof(fc.constant(''), fc.string({ maxLength: 5 }), fc.constantFrom('"', '","', '"]]', '\\', '\n'))
  const instant = fc.oneof(fc.constant(latest), fc.maxSafeInteger().map(String))
  const mark = fc.tuple(id, id, id, instant, instant)
  fc.assert(fc.property(fc.constantFrom('t1', 's1', 'u1', 't#x'), fc.array(mark, { maxLength: 3 }), (id, marks) => {
    t.same(rowsOfText(id, JSON.stringify(marks)), rowsOfStored(id, marks))
  }), { numRuns: 500 })
})

t.test('the mark of a token or a session that names nothing else is read without parsing JSON', async t => {
  const { parse } = JSON
  t.teardown(() => { JSON.parse = parse })
  const single: StoredMark = ['', '', '', latest, '1800000000000']
  const texts = {
    single: JSON.stringify([single]), two: JSON.stringify([single, single]), issuer: JSON.stringify([['https://idp.example', ...single.slice(1)]])
  }
  let parsed = 0
  JSON.parse = (...values) => {
    parsed++
    return parse(...values)
  }
  t.same(rowsOfText('tid', texts.single).map(markOfRow), [{ tokenId: 'id', until: 1_800_000_000_000 }])
  t.same(rowsOfText('s#id', texts.single).map(markOfRow), [{ sessionId: '#id', until: 1_800_000_000_000, digested: true }])
  t.equal(parsed, 0)
  t.equal(rowsOfText('tid', texts.two).length, 2)
  t.equal(rowsOfText('tid', texts.issuer)[0]?.issuer, 'https://idp.example')
  t.equal(parsed, 2)
})

t.test('a text that was damaged is an error', async t => {
  const text = JSON.stringify([['', '', '', latest, '1800000000000']])
  for (const damaged of ['', text.slice(0, -1), text.slice(0, -2), `${text}]`, text.replace('9007', '"9007')]) {
    t.throws(() => rowsOfText('tid', damaged), SyntaxError, damaged)
  }
})
