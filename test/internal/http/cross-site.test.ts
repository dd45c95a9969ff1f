import t from 'tap'
import { crossSiteCheck, type CrossSiteOptions } from '../../../lib/internal/http/cross-site.ts'

const context = { caller: 'aPlugin', option: 'csrf' }

/** The verdict on the headers of a request to app.example. */
function verdict (headers: Record<string, string>, options: CrossSiteOptions = {}, publicUrl?: string) {
  const judge = crossSiteCheck(options, { ...context, publicUrl: publicUrl === undefined ? undefined : new URL(publicUrl) })
  return judge({ headers, host: headers['host'] ?? 'app.example' })
}

t.test('a request without Sec-Fetch-Site and Origin does not come from a current browser', async t => {
  t.equal(verdict({}), 'not-a-browser')
  t.equal(verdict({ referer: 'https://evil.example/' }), 'not-a-browser')
  t.equal(verdict({ origin: '' }), 'refused', 'an empty one is sent by nobody')
})

t.test('Sec-Fetch-Site decides, unless the Origin is trusted', async t => {
  const trusting = { trustedOrigins: ['https://www.example'] }
  t.equal(verdict({ 'sec-fetch-site': 'same-origin' }), 'allowed')
  for (const site of ['same-site', 'cross-site', 'none', '', 'SAME-ORIGIN', 'same-origin, cross-site']) {
    t.equal(verdict({ 'sec-fetch-site': site, origin: 'https://app.example' }), 'refused', site)
    t.equal(verdict({ 'sec-fetch-site': site, origin: 'https://www.example' }, trusting), 'allowed', site)
    t.equal(verdict({ 'sec-fetch-site': site }, { trustSameSite: true }), site === 'same-site' ? 'allowed' : 'refused', site)
  }
})

t.test('an Origin is compared with the host of the request, or with the public URL', async t => {
  for (const [origin, host] of [
    ['https://app.example', 'app.example'], ['http://app.example', 'app.example'], ['https://app.example', 'app.example:443'],
    ['http://app.example', 'app.example:80'],
    ['http://127.0.0.1:3000', '127.0.0.1:3000'], ['http://[::1]:3000', '[::1]:3000'], ['https://xn--bcher-kva.example',
      'xn--bcher-kva.example']
  ] as const) t.equal(verdict({ origin, host }), 'allowed', origin)
  for (const [origin, host] of [
    ['https://app.example', 'app.example:80'], ['https://app.example', 'evil.example'], ['https://app.example.evil', 'app.example'],
    ['https://app.example', ''],
    ['null', 'null'], ['file://', ''], ['https://app.example/', 'app.example'], ['https://a@app.example', 'app.example'],
    ['ftp://app.example', 'app.example'],
    ['https://app.example', 'app.example/x'], ['https://app.example', 'x@app.example'], ['https://app.example', 'app.example?x'],
    ['https://app.example', 'app.example#'],
    ['https://app.example', 'app.example:99999'], ['app.example', 'app.example'], ['https://app.example, https://app.example',
      'app.example'],
    ['xhttps://app.example', 'app.example'], ['https://app.example:99999', 'app.example'], ['https://app.example:99999', 'app.example:99999']
  ] as const) t.equal(verdict({ origin, host }), 'refused', `${origin} ${host}`)
  t.equal(verdict({ origin: 'HTTPS://APP.example', host: 'app.example' }), 'allowed', 'host names have no case')
  t.equal(verdict({ origin: 'https://app.example', host: 'internal' }, {}, 'https://app.example/base'), 'allowed')
  t.equal(verdict({ origin: 'http://app.example', host: 'app.example' }, {}, 'https://app.example'), 'refused')
})

t.test('trusted origins are compared as browsers write them', async t => {
  for (const [entry, origin] of [
    ['https://www.example', 'https://www.example'], ['HTTPS://WWW.example:443', 'https://www.example'], ['http://localhost:5173',
      'http://localhost:5173'],
    ['https://b\u00fccher.example', 'https://xn--bcher-kva.example'], ['capacitor://localhost', 'capacitor://localhost'], ['app://local',
      'app://local']
  ] as const) t.equal(verdict({ origin }, { trustedOrigins: [entry] }), 'allowed', entry)
  t.equal(verdict({ origin: 'https://sub.www.example' }, { trustedOrigins: ['https://www.example'] }), 'refused')
})

t.test('an entry that is not an origin throws a TypeError that names it', async t => {
  for (const entry of ['https://www.example/', 'https://www.example/x', 'www.example', '*', 'https://*', 'https://*.example', 'null', '',
    'https://', 'https://a@b', '//www.example', 'https://www.example:99999', 'https://www.example/https://a', ['https://www.example'], 5]) {
    t.throws(() => crossSiteCheck({ trustedOrigins: [entry as string] }, context), {
      name: 'TypeError', message: `aPlugin: option "csrf.trustedOrigins" has the entry ${JSON.stringify(entry)}, which is not an origin`
    }, String(entry))
  }
  t.throws(() => crossSiteCheck({ trustedOrigins: 'https://www.example' as never }, context), { message: 'must be a list of origins' })
  t.throws(() => crossSiteCheck({ trustSameSite: 'yes' as never }, context),
    { message: 'aPlugin: option "csrf.trustSameSite" must be true or false' })
})
