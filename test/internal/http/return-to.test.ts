import fc from 'fast-check'
import t from 'tap'
import { returnToHost, returnToWithin } from '../../../lib/internal/http/return-to.ts'

const standard = 'https://app.example/bye?from=logout'

function judge (...allowed: string[]) {
  return returnToWithin({ standard: new URL(standard), allowed, caller: 'aPlugin', option: 'returnUrls.allowed' })
}

t.test('without a return_to the default is the target, allowed or not', async t => {
  for (const given of [undefined, null, '']) t.strictSame(judge()(given), { location: standard })
})

t.test('an absolute URL below an entry is the target, unchanged', async t => {
  const allowed = judge('https://app.example/app', 'http://127.0.0.1:4455/', 'https://*.team.example', 'https://[::1]:8443/x/')
  for (const given of [
    'https://app.example/app', 'https://app.example/app/', 'https://app.example/app/deep/er?q=1#there', 'https://app.example/app?x',
    'https://app.example/app#x', 'HTTPS://APP.example/app', 'https://app.example:443/app', 'https://app.example/app/./x',
    'https://app.example/app/a/../b',
    'https://app.example/other/../app', 'https://app.example/%2e%2e/app', 'https://app.example/app/%0d%0aSet-Cookie:%20a',
    'https://app.example/app?next=https://evil.example/',
    'https://app.example/app/https://evil.example', 'https://app.example/app/<b>"quoted"',
    'http://127.0.0.1:4455', 'http://127.0.0.1:4455/any', 'http://0x7f.1:4455/any',
    'https://one.team.example/', 'https://two.one.team.example/x', 'https://[::1]:8443/x/y'
  ]) t.strictSame(allowed(given), { location: given })
})

t.test('a URL without scheme or host is completed with the default, and checked', async t => {
  const allowed = judge('https://app.example/app', 'https://other.example/')
  for (const [given, location] of [
    ['/app', 'https://app.example/app'], ['/app/x?y=1#z', 'https://app.example/app/x?y=1#z'], ['/app/a/../b', 'https://app.example/app/b'],
    ['//other.example/x', 'https://other.example/x'], ['//app.example/app', 'https://app.example/app']
  ] as const) t.strictSame(allowed(given), { location }, given)
  t.strictSame(judge('https://app.example/')('?welcome=1'), { location: 'https://app.example/?welcome=1' })
  t.strictSame(judge('https://app.example/')('#top'), { location: 'https://app.example/#top' })

  for (const [given, forbidden] of [
    ['/', 'https://app.example/'], ['/bye', 'https://app.example/bye'], ['/app/../bye', 'https://app.example/bye'],
    ['//evil.example/app', 'https://evil.example/app'],
    ['//app.example:8443/app', 'https://app.example:8443/app']
  ] as const) t.strictSame(allowed(given), { forbidden }, given)
})

t.test('non-ASCII characters are encoded as browsers do it', async t => {
  const allowed = judge('https://app.example/', 'https://xn--bcher-kva.example/')
  t.strictSame(allowed('https://app.example/gr\u00fc\u00dfe'), { location: 'https://app.example/gr%C3%BC%C3%9Fe' })
  t.strictSame(allowed('https://b\u00fccher.example/'), { location: 'https://xn--bcher-kva.example/' })
  t.strictSame(allowed('https://\uff41pp.example/x y'), { location: 'https://app.example/x%20y' }, 'full-width letters are that host')
  t.match(allowed('https://\u0430pp.example/'), { forbidden: 'https://xn--pp-6kc.example/' }, 'a Cyrillic look-alike is another host')
})

const hostile = [
  '//evil.example', '//evil.example/app', '/\\evil.example', '\\\\evil.example', '\\/evil.example', '/\\/evil.example', '///evil.example',
  '///app.example/app', '////evil.example',
  'https:evil.example', 'https:/evil.example', 'https:app.example/app', 'https:/app.example/app', 'https:///app.example/app', 'http:///app',
  'https://app.example@evil.example/app', 'https://app.example:443@evil.example/app', 'https://user@app.example/app',
  'https://user:pw@app.example/app', 'https://@app.example/app',
  'https://app.example\\@evil.example/app', 'https://evil.example\\@app.example/app', 'https://evil.example\\.app.example/app',
  'https://app.example/app\\..\\x', 'https://app.example/app\\x', 'https://app.example\\app', '/app\\x',
  'https://app.example%2eevil.example/app', 'https://app%2eexample/app', 'https://app.example%00.evil.example/app',
  'https://app.example%23@evil.example/',
  'https://app.example/app\r\nSet-Cookie: a=b', 'https://app.example/app\n', '\thttps://app.example/app', 'https://app.ex\tample/app',
  'https://app.example/app\u0000', 'java\nscript:alert(1)',
  ' https://app.example/app', 'https://app.example/app/../admin', 'https://app.example/app/..', 'https://app.example/app/%2e%2e/admin',
  'https://app.example/app/.%2E/admin',
  'https://app.example/app/..%2fadmin', 'https://app.example/app/%2e%2e%2fadmin', 'https://app.example/app%2f..%2fadmin',
  'https://app.example/app/%2e%2e%5cadmin', 'https://app.example/app/x/..%2f..%2f..',
  'https://app.example/apple', 'https://app.example/app.evil', 'https://app.example/app%2f', 'https://app.example/APP',
  'https://app.example/', 'https://app.example',
  'https://app.example.evil.example/app', 'https://evilapp.example/app', 'https://app.example./app', 'https://app.example:8443/app',
  'http://app.example/app', 'https://www.app.example/app',
  'https://\u0430pp.example/app', 'https://app.ex\u00e4mple/app', 'https://app\u3002example.evil.example/app',
  'https://app.example\u2215evil.example/app', 'https://app.example\uff0fapp', 'https://app.example\uff20evil.example/app',
  'javascript:alert(1)', 'JavaScript://app.example/app%0aalert(1)', 'data:text/html,x', 'vbscript:x', 'file:///etc/passwd',
  'blob:https://app.example/app', 'ftp://app.example/app', 'about:blank',
  'https://team.example/', 'https://evilteam.example/', 'https://.team.example/', 'https://one..team.example/', 'https://..team.example/',
  'https://*.team.example.evil.example/', 'https://team.example.evil.example/', 'https://one.team.example:444/', 'http://one.team.example/',
  'app', 'evil.example', './app', '../app', 'app.example/app', '@evil.example', ':443', '%2f%2fevil.example', 'https://', 'https://[::1',
  'https://app.example:99999/app', 'http://',
  'HTTPS://user@app.example/app', 'Https://app.example%2eevil.example/app', '//user@app.example/app', 'xhttps://app.example/app',
  'https://app.example/app/..%2Fadmin', 'https://app.example/app/..%5Cadmin', 'https://app.example/app%2F..%2Fadmin'
]

t.test('every URL of the hostile corpus is refused', async t => {
  const allowed = judge('https://app.example/app', 'https://*.team.example')
  for (const given of hostile) t.notOk('location' in allowed(given), JSON.stringify(given))
})

t.test('a malformed URL is distinguished from a forbidden one', async t => {
  t.strictSame(judge()('https://app.example/\n'), { malformed: 'net/url: invalid control character in URL' })
  t.strictSame(judge()('https://app.example:99999/'), { malformed: 'invalid URL' })
  t.strictSame(judge()('https://evil.example/'), { forbidden: 'https://evil.example/' })
  for (const given of ['javascript:alert(1)', '/a\\b', '///app.example/', 'https://user@app.example/', '//app%2eexample/', 'bye']) {
    t.strictSame(judge()(given), { forbidden: given })
  }
})

t.test('what follows the host may look like userinfo, and below a whole host every path is allowed', async t => {
  const allowed = judge('https://app.example/')
  for (const given of ['/app?next=//user@evil.example/', '/@evil', '/app#//a@b']) {
    t.strictSame(allowed(given), { location: `https://app.example${given}` })
  }
  for (const path of ['/a/..%2Fb', '/%2e%2e%2fb', '/a%5c..']) {
    t.strictSame(allowed(`https://app.example${path}`), { location: `https://app.example${path}` })
  }
})

t.test('for any return_to, a browser stays within the allowed URLs', async t => {
  const allowed = judge('https://app.example/app', 'https://*.team.example', 'http://127.0.0.1:4455/cb/')
  const piece = fc.constantFrom(
    'https', 'http', 'HTTPS', 'javascript', ':', '/', '//', '\\', '@', '?', '#', '.', '..', '%2e', '%2f', '%5c', '%00', '%0d%0a', '\t',
    '\n', ' ', 'app.example', 'evil.example', 'team.example',
    '*.', 'one.', '/app', 'app', 'cb', '127.0.0.1', ':4455', ':443', '\u3002', '\uff0f', '\uff20', '\u0430', 'xn--', '[::1]', 'user:pw',
    ';', '&', '='
  )
  const start = fc.constantFrom(
    'https://app.example/app', '//app.example/app', '/app', 'https://one.team.example', 'http://127.0.0.1:4455/cb'
  )
  const anything = fc.oneof(
    fc.array(piece, { maxLength: 12 }).map(pieces => pieces.join('')),
    fc.tuple(start, fc.array(piece, { maxLength: 6 })).map(([start, pieces]) => start + pieces.join('')),
    fc.webUrl({ withFragments: true, withQueryParameters: true }),
    fc.string({ unit: 'binary' }),
    fc.constantFrom(...hostile)
  )
  fc.assert(fc.property(anything, given => {
    const judged = allowed(given)
    if (!('location' in judged) || judged.location === standard) return true
    // What a browser makes of the Location header, wherever the logout URL is.
    for (const base of ['https://auth.example/self-service/logout', 'http://evil.example/x/y']) {
      const { protocol, host, pathname, username, password } = new URL(judged.location, base)
      const origin = `${protocol}//${host}`
      const ok = username === '' && password === '' && (
        (origin === 'https://app.example' && /^\/app(\/|$)/.test(pathname)) ||
        (protocol === 'https:' && /^([^.]+\.)+team\.example$/.test(host)) ||
        (origin === 'http://127.0.0.1:4455' && pathname.startsWith('/cb/'))
      )
      if (!ok) return false
    }
    return /^[\u0021-\u007e]+$/.test(judged.location)
  }), { numRuns: 3000 })
})

t.test('every URL below an entry is allowed', async t => {
  const allowed = judge('https://app.example/app')
  fc.assert(fc.property(fc.webPath(), fc.webQueryParameters(), (path, query) => {
    const given = `https://app.example/app${path}?${query}`
    fc.pre(!/(^|\/)(\.|%2e){1,2}(\/|$)|%2f|%5c/i.test(path))
    return JSON.stringify(allowed(given)) === JSON.stringify({ location: given })
  }))
})

t.test('an entry that can never match, or matches too much, throws a TypeError that names option and entry', async t => {
  for (const [entry, hint] of [
    ['/dashboard', /can never match: an entry is an absolute/], ['app.example', /can never match/], ['//app.example', /can never match/],
    ['', /can never match/], ['*', /can never match/],
    ['myapp://callback', /can never match/], ['javascript:alert(1)', /can never match/], ['https:app.example', /can never match/],
    ['https://', /can never match/], ['https://app.example:99999', /can never match/], ['xhttps://app.example/', /can never match/],
    ['https://app.example\\app', /backslash/], ['https://app.example/my app', /white space/],
    ['https://user@app.example/', /user name/], ['https://:pw@app.example/', /user name/],
    ['https://app.example/?x', /query or a fragment/], ['https://app.example/#x', /query or a fragment/],
    ['https://app.example/?', /query or a fragment/],
    ['https://app.example/*', /star in its path/], ['https://app.example/a/%2e%2e%2fb', /encoded dot segments/],
    ['https://*', /star that is not the whole first label/], ['https://*foo.example', /whole first label/],
    ['https://www.*.example', /whole first label/], ['https://*.*.example', /whole first label/],
    ['https://*.com', /two labels/], ['https://*.com.', /two labels/], ['https://*.localhost', /two labels/],
    ['https://*.a..b.example', /two labels/], ['https://*.app.example.', /two labels/]
  ] as const) {
    t.throws(() => judge('https://app.example/', entry), { name: 'TypeError', message: hint }, entry)
    t.throws(() => judge(entry), { message: `aPlugin: option "returnUrls.allowed" has the entry ${JSON.stringify(entry)}, which` })
  }
})

const caller = 'aPlugin'
const publicUrl = new URL('https://app.example:8443/base/')

t.test('on the host: without a return_to the default is the target, letter for letter', async t => {
  for (const standard of ['/', '/bye?a=%2F#b', '/a/../b', 'https://www.example/bye', 'HTTP://WWW.example']) {
    for (const base of [undefined, publicUrl]) {
      const judge = returnToHost({ publicUrl: base, standard, allowed: [], caller })
      t.strictSame([judge(undefined), judge('')], [standard, standard])
    }
  }
})

t.test('on the host: a path is of its own origin, and becomes absolute with a public URL', async t => {
  const relative = returnToHost({ standard: '/', allowed: [], caller })
  const absolute = returnToHost({ publicUrl, standard: '/', allowed: [], caller })
  for (const [path, sent = path] of [
    ['/'], ['/path?q#f'], ['/?next=https://evil.example'], ['/a//b'], ['/%0d%0aSet-Cookie:%20a=b'], ['/a/../../b'], ['/.//evil.example'],
    ['/gr\u00fc\u00dfe', '/gr%c3%bc%c3%9fe'], ['/a b', '/a%20b'], ['/~!'], ['/\ud83d', '/%ef%bf%bd']
  ] as const) t.strictSame([relative(path), absolute(path)], [sent, `https://app.example:8443${sent}`], path)
})

t.test('on the host: an absolute URL is a target if it has the public origin, or is within an entry', async t => {
  const allowed = ['https://www.example/after']
  const judge = returnToHost({ publicUrl, standard: '/', allowed, caller })
  for (const target of ['https://app.example:8443', 'https://app.example:8443/x?y#z', 'https://www.example/after/all']) {
    t.equal(judge(target), target)
  }
  for (const target of ['https://app.example/', 'http://app.example:8443/', 'https://www.example/', 'https://evil.example/']) {
    t.equal(judge(target), undefined, target)
  }
  const withoutPublicUrl = returnToHost({ standard: '/', allowed, caller })
  t.equal(withoutPublicUrl('https://www.example/after'), 'https://www.example/after')
  t.equal(withoutPublicUrl('http://localhost/'), undefined)
})

t.test('on the host: what browsers could read as another origin, or not as a path, is refused', async t => {
  for (const base of [undefined, publicUrl]) {
    const judge = returnToHost({ publicUrl: base, standard: '/', allowed: ['https://www.example/'], caller })
    for (const target of [
      '//evil.example', '///evil.example', '/\\evil.example', '\\evil.example', '/a\\b', '/\t/evil.example', '/a\u0000b', '/a\u007fb',
      'https:evil.example', 'javascript:alert(1)', 'https://user@app.example:8443/', ' /bye', '/bye ', '\u00a0/bye', 'bye', './bye', '?bye',
      '#bye', '.', 'app.example', 'https://evil.example/', '//www.example/', '//app.example:8443/', 'https://www.example/ '
    ]) t.equal(judge(target), undefined, JSON.stringify(target))
  }
})

t.test('on the host: a default or an entry that is neither path nor URL is a TypeError', async t => {
  for (const standard of ['', 'bye', '//www.example', '/\\x', '/a b', '/\u00fc', 'ftp://www.example', 'https:', 'https://', 'xhttps://www.example', 5, null, ['/x']]) {
    t.throws(() => returnToHost({ standard: standard as string, allowed: [], caller }), {
      name: 'TypeError', message: 'aPlugin: option "returnUrls.default" must be a path, such as "/", or an absolute http or https URL'
    }, String(standard))
  }
  for (const allowed of ['https://www.example/', {}, null]) {
    t.throws(() => returnToHost({ standard: '/', allowed: allowed as never, caller }), {
      name: 'TypeError', message: 'aPlugin: option "returnUrls.allowed" must be a list of absolute URLs'
    })
  }
  t.throws(() => returnToHost({ standard: '/', allowed: ['/path'], caller }), {
    name: 'TypeError', message: /^aPlugin: option "returnUrls\.allowed" has the entry "\/path", which can never match/
  })
})
