import fc from 'fast-check'
import t from 'tap'
import { wantsJson } from '../../../lib/internal/http/wants-json.ts'

const chrome = 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,' +
  'application/signed-exchange;v=b3;q=0.7'

t.test('these Accept headers ask for JSON', async t => {
  for (const accept of [
    'application/json',
    'application/json, text/plain, */*',
    'application/*',
    'application/json;q=0.5',
    'application/json; q=0.8',
    'application/json ;q=0.8',
    'application/problem+json, application/json',
    'text/html;q=0.9, application/json',
    'text/html;q=0.0, application/json;q=0.001',
    'text/*, application/json',
    'application/json;q=0.8, text/html;q=0.7',
    'application/json;q=1.0,text/html;q=0.999',
    'application/json,',
    'application/json text/html',
    'application/json;q=0.9;level=1, text/html'
  ]) t.ok(wantsJson({ accept }), accept)
})

t.test('these Accept headers do not ask for JSON', async t => {
  for (const accept of [
    '', '*/*', 'text/plain', 'text/html', chrome,
    'text/html, application/json',
    'application/json, text/html',
    'application/json;q=0.9, text/html',
    'application/json;q=0.5, */*',
    'application/*, text/*',
    'application/json; charset=utf-8',
    'text/html;level=1, application/json',
    'text/*;level=1, application/json',
    'Application/JSON',
    'application/vnd.api+json',
    'application/json;q=0',
    'application/json;q=0.0',
    'application/json;q=2',
    'application/json;q=',
    'application/json;q=0.5, text/html',
    ', application/json',
    'application/jsonx',
    'application /json'
  ]) t.notOk(wantsJson({ accept }), accept)
  t.notOk(wantsJson({}), 'none at all')
})

t.test('a Content-Type of exactly application/json asks for JSON, whatever the Accept header', async t => {
  t.ok(wantsJson({ 'content-type': 'application/json' }))
  t.ok(wantsJson({ 'content-type': 'application/json', accept: chrome }))
  for (const type of ['application/json; charset=utf-8', 'Application/JSON', 'text/plain', '']) {
    t.notOk(wantsJson({ 'content-type': type }), type)
  }
})

t.test('every header is judged, also odd and long ones', async t => {
  const piece = fc.constantFrom('application/json', 'text/html', '*/*', ';', 'q=', '0.5', ',', ' ', '\t', '/', '"', 'text/*')
  fc.assert(fc.property(fc.array(piece, { maxLength: 40 }), pieces => typeof wantsJson({ accept: pieces.join('') }) === 'boolean'))
  fc.assert(fc.property(fc.double({ min: 0.01, max: 1, noNaN: true }), fc.double({ min: 0.01, max: 1, noNaN: true }), (json, html) => {
    const accept = `text/html;q=${html.toFixed(3)},application/json;q=${json.toFixed(3)}`
    return wantsJson({ accept }) === (Number(json.toFixed(3)) > Number(html.toFixed(3)))
  }))
  // Work that grew with the square of the length would not come to an end here.
  wantsJson({ accept: 'a/b,'.repeat(400_000) })
  wantsJson({ accept: ' \t'.repeat(800_000) })
  wantsJson({ accept: `a${' '.repeat(1_600_000)}` })
})
