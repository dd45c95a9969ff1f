import fc from 'fast-check'
import t from 'tap'
import { kratosIds } from '../../../lib/internal/kratos/id.ts'

const uuids = kratosIds('uuid')
const texts = kratosIds('any')
const canonical = 'abcdefab-1234-4000-8000-00000000000a'
const plain = canonical.replaceAll('-', '')

t.test('a UUID is looked for as it was given and as Kratos stores it', async t => {
  for (const [given, spellings] of [
    [canonical, [canonical]],
    [canonical.toUpperCase(), [canonical.toUpperCase(), canonical]],
    [plain, [plain, canonical]],
    [plain.toUpperCase(), [plain.toUpperCase(), canonical]],
    [`{${canonical}}`, [canonical, `{${canonical}}`]],
    [`{${plain}}`, [canonical, `{${plain}}`]],
    [`urn:uuid:${canonical}`, [canonical, `urn:uuid:${canonical}`]],
    [`urn:uuid:${plain}`, [canonical, `urn:uuid:${plain}`]]
  ] as const) t.strictSame(uuids.read(given), { spellings }, given)
})

t.test('what is not a UUID has a problem, in the words of Kratos', async t => {
  for (const [given, problem] of [
    ['', 'uuid: incorrect UUID length 0 in string ""'],
    ['BADUUID', 'uuid: incorrect UUID length 7 in string "BADUUID"'],
    ['\u00fc', 'uuid: incorrect UUID length 2 in string "\u00fc"'],
    [`${canonical} `, `uuid: incorrect UUID length 37 in string "${canonical} "`],
    ['x'.repeat(36), `uuid: incorrect UUID format in string "${'x'.repeat(36)}"`],
    [`[${canonical}]`, `uuid: incorrect UUID format in string "[${canonical}]"`],
    [`URN:UUID:${canonical}`, `uuid: incorrect UUID format in string "URN:UUID:${canonical}"`],
    [`{${canonical}x`, `uuid: incorrect UUID format in string "{${canonical}x"`],
    ['x'.repeat(32), 'uuid: invalid UUID format'],
    [`g${canonical.slice(1)}`, 'uuid: invalid UUID format']
  ] as const) t.strictSame(uuids.read(given), { problem }, given)
})

t.test('two texts are the same id if they are the same UUID, or the same text', async t => {
  const forms = [canonical, canonical.toUpperCase(), plain, `{${plain}}`, `urn:uuid:${canonical}`]
  for (const one of forms) for (const other of forms) t.ok(uuids.isSame(one, other), `${one} ${other}`)
  t.notOk(uuids.isSame(canonical, canonical.replace('a', 'b')))
  t.ok(uuids.isSame('s.1', 's.1'))
  t.notOk(uuids.isSame('s.1', 'S.1'))
  t.notOk(uuids.isSame('s.1', canonical))
  t.ok(texts.isSame('S.1', 'S.1'))
  t.notOk(texts.isSame(canonical, canonical.toUpperCase()))
})

t.test('with the kind "any" each text except the empty one is an id', async t => {
  t.strictSame(texts.read(''), { problem: 'the id is empty' })
  for (const text of ['s.1', ' ', canonical.toUpperCase(), '../x', 'x'.repeat(10_000)]) {
    t.strictSame(texts.read(text), { spellings: [text] })
  }
})

t.test('every UUID is found in each of its forms, and no two ids are mixed up', async t => {
  const forms = (uuid: string) => [uuid, uuid.toUpperCase(), uuid.replaceAll('-', ''), `{${uuid}}`, `urn:uuid:${uuid}`]
  fc.assert(fc.property(fc.uuid(), fc.uuid(), fc.nat(4), (one, other, form) => {
    const given = forms(one)[form] ?? ''
    const read = uuids.read(given)
    return 'spellings' in read && read.spellings.includes(one) && read.spellings.includes(given) &&
      uuids.isSame(given, one) && uuids.isSame(given, other) === (one === other)
  }))
})
