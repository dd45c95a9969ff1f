import t from 'tap'
import { hasControls, readClientCredentials, usesBasic } from '../../../lib/internal/oauth/client-credentials.ts'

const encoded = (text: string | Buffer) => Buffer.from(text).toString('base64')
type Parameters = Readonly<Record<string, string>>
const read = (authorization: string | undefined, form: Parameters = {}) => {
  return readClientCredentials(authorization, new Map(Object.entries(form).map(([name, value]) => [name, [value]])))
}
const unnamed = { problem: 'unnamed' }

t.test('only the scheme Basic, in any case, is HTTP Basic', async t => {
  for (const header of ['Basic', 'basic', 'BASIC x', 'Basic  x']) t.equal(usesBasic(header), true, header)
  for (const header of [undefined, '', 'Basic2 x', 'Bearer Basic', ' Basic x', 'Basic\tx']) {
    t.equal(usesBasic(header), false, String(header))
  }
})

t.test('Basic is read in its one spelling', async t => {
  t.strictSame(read(`Basic ${encoded('a:b')}`), { id: 'a', secret: 'b' })
  t.strictSame(read(`Basic ${encoded('a:b')}  `), { id: 'a', secret: 'b' })
  t.strictSame(read(`Basic ${encoded('a:b').replace(/=+$/, '')}`), { id: 'a', secret: 'b' }, 'padding may be missing')
  t.strictSame(read(`Basic ${encoded('a::')}`), { id: 'a', secret: ':' })
  t.strictSame(read(`Basic ${encoded('a:b\u2028c')}`), { id: 'a', secret: 'b\u2028c' })
  for (const header of [
    'Basic', 'Basic ', `Basic ${encoded('a')}`, `Basic ${encoded(':b')}`, `Basic x${encoded('a:b')} y`, `Basic "${encoded('a:b')}"`,
    `Basic ${encoded('a:>>>').replaceAll('+', '-').replaceAll('/', '_')}`, `Basic ${encoded('%zz:b')}`, `Basic ${encoded('a:%')}`,
    `Basic ${encoded(Buffer.from([0x61, 0x3a, 0xff]))}`,
    `Basic ${encoded('%FF:b')}`, `Basic ${encoded('a\n:b')}`, `Basic ${encoded('a:%00')}`
  ]) t.strictSame(read(header), unnamed, header)
})

t.test('a byte order mark is part of an id', async t => {
  t.strictSame(read(`Basic ${encoded('\ufeffa:b')}`), { id: '\ufeffa', secret: 'b' })
})

t.test('the form is read if the header is no Basic', async t => {
  t.strictSame(read(undefined, { client_id: 'a', client_secret: 'b' }), { id: 'a', secret: 'b' })
  t.strictSame(read('Bearer x', { client_id: 'a' }), { id: 'a' })
  t.strictSame(read(undefined, { client_id: 'a', client_secret: '' }), { id: 'a' })
  t.strictSame(read(undefined, { client_secret: 'b' }), unnamed)
  t.strictSame(read(undefined), unnamed)
})

t.test('parameters without a value count as left out beside Basic', async t => {
  const empty = { client_id: '', client_secret: '', client_assertion: '', client_assertion_type: '' }
  t.strictSame(read(`Basic ${encoded('a:b')}`, empty), { id: 'a', secret: 'b' })
})

t.test('half of an assertion is incomplete', async t => {
  t.strictSame(read(undefined, { client_id: 'a', client_assertion: 'x' }), { problem: 'incomplete' })
  t.strictSame(read(undefined, { client_id: 'a', client_assertion_type: 'x' }), { problem: 'incomplete' })
})

t.test('control characters are found, and nothing else', async t => {
  for (const text of ['\0', 'a\nb', '\u007f', '\u0085']) t.equal(hasControls(text), true, JSON.stringify(text))
  for (const text of ['', ' ', 'a~', 'ä€', '\u00a0', '🔑']) t.equal(hasControls(text), false, text)
})
