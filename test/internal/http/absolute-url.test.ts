import t from 'tap'
import { absoluteUrl } from '../../../lib/internal/http/absolute-url.ts'

const read = (given: unknown) => absoluteUrl(given as string, {
  caller: 'aPlugin', option: 'anUrl', meaning: 'where it is'
})

t.test('an absolute http or https URL is parsed', async t => {
  for (const [given, href] of [
    ['https://app.example', 'https://app.example/'], ['HTTP://App.Example:80/a?b#c', 'http://app.example/a?b#c'],
    ['https://[::1]:8443/', 'https://[::1]:8443/'], ['https://app.example?q', 'https://app.example/?q'],
    ['https://app.example#f', 'https://app.example/#f']
  ] as const) t.equal(read(given).href, href)
})

t.test('any other value throws a TypeError that names the option', async t => {
  t.throws(() => read(undefined), { name: 'TypeError', message: 'aPlugin: option "anUrl" is missing: say where it is' })
  for (const given of [
    null, 5, '', '/path', '//app.example', 'app.example', 'ftp://app.example', 'javascript:alert(1)', 'https:app.example',
    'https://', 'https:///path',
    'https://user@app.example', 'https://user:secret@app.example/', 'https://app.example\\@evil.example',
    'https://app.example:99999', ' https://app.example',
    new URL('https://app.example')
  ]) {
    t.throws(() => read(given), {
      name: 'TypeError', message: 'aPlugin: option "anUrl" must be an absolute http or https URL without a user name'
    }, String(given))
  }
})
