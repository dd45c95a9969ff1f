import cookie, { type CookieSerializeOptions } from '@fastify/cookie'
import Fastify from 'fastify'
import t from 'tap'
import { Cookie, CookieJar, PrefixSecurityEnum } from 'tough-cookie'
import { kratosBrowserLogout } from '../lib/flows/kratos-browser.ts'
import { logoutUrlToken } from '../lib/internal/kratos/logout-url-token.ts'
import type { SessionCookie } from '../lib/internal/kratos/session-cookie.ts'
import { host, people } from './kratos-host.ts'

const { token } = people.laptop

/** Signs in with `@fastify/cookie` and logs out with the same description of the cookie, both through a jar. */
async function signInAndOut (description: SessionCookie & { readonly name: string }) {
  const { sessions, isLive } = await host()
  const scheme = description.secure ? 'https' : 'http'
  const site = `${scheme}://login.app.example`
  const app = Fastify()
  await app.register(cookie, { secret: 'a secret' })
  app.get('/auth/sign-in', async (_request, reply) => {
    const { name, ...attributes } = description
    return reply.setCookie(name, token, attributes as CookieSerializeOptions).send()
  })
  const urls = { publicUrl: `${site}/auth`, returnUrls: { default: `${site}/bye` } }
  await app.register(kratosBrowserLogout, { prefix: '/auth', sessions, ...urls, cookie: description })

  const jar = new CookieJar(undefined, { prefixSecurity: PrefixSecurityEnum.STRICT })
  const decoys = [`${description.name}=decoy; Path=/auth/self-service/elsewhere`, 'other=decoy; Path=/']
  for (const decoy of decoys) await jar.setCookie(decoy, `${site}/auth/self-service/elsewhere`, { ignoreError: true })
  const before = await held(jar, site)

  const visit = async (path: string) => {
    const url = site + path
    const answer = await app.inject({ url: path, headers: { host: 'login.app.example', cookie: await jar.getCookieString(url) } })
    for (const line of [answer.headers['set-cookie'] ?? []].flat()) await jar.setCookie(line, url)
    return answer
  }
  const set = String((await visit('/auth/sign-in')).headers['set-cookie'])
  const taken = await held(jar, site) !== before
  const { statusCode, headers } = await visit(`/auth/self-service/logout?token=${logoutUrlToken(token)}`)
  await app.close()
  const [live, after] = [await isLive(people.laptop), await held(jar, site)]
  return { taken, statusCode, live, set, removed: String(headers['set-cookie']), before, after }
}

/** Everything that the jar would send anywhere on the site. */
async function held (jar: CookieJar, site: string): Promise<string> {
  const paths = ['/', '/auth', '/auth/self-service/logout', '/auth/self-service/elsewhere']
  const cookies = await Promise.all(paths.map(path => jar.getCookies(site + path)))
  const lines = cookies.flat().map(({ key, value, domain, hostOnly, path }) => `${key}=${value} ${domain} ${hostOnly} ${path}`)
  return JSON.stringify([...new Set(lines)].sort())
}

/** What a browser knows a cookie by, and what it needs to accept it. */
function identity (header: string) {
  const { key, domain, path, secure, httpOnly, sameSite } = Cookie.parse(header) ?? {}
  return { key, domain, path, secure, httpOnly, sameSite, partitioned: /; Partitioned(;|$)/.test(header) }
}

/** The rules of the layered cookies draft for what a browser takes. */
function isTakable ({ name, path, domain, secure, sameSite, partitioned }: SessionCookie & { readonly name: string }): boolean {
  if (!secure && (sameSite === 'none' || partitioned || name.startsWith('__'))) return false
  return !name.startsWith('__Host-') || (path === '/' && domain === undefined)
}

const attributes = ([
  [true, 'lax', false], [true, 'strict', true], [true, 'none', false], [true, 'none', true],
  [false, 'lax', false], [false, 'strict', false], [false, 'none', false], [false, 'lax', true]
] as const).map(([secure, sameSite, partitioned]) => ({ secure, sameSite, partitioned, httpOnly: true }))

/** Every combination of what a cookie can be described by. */
function descriptions () {
  const names = ['sid', '__Host-sid', '__Secure-sid'].map(name => ({ name }))
  const paths = ['/', '/auth/self-service'].map(path => ({ path }))
  const domains = [{}, ...['login.app.example', 'app.example', '.app.example'].map(domain => ({ domain }))]
  const signatures = [{ signed: false }, { signed: true }]
  return names.flatMap(name => paths.flatMap(path => domains.flatMap(domain => attributes.flatMap(rest => signatures.map(
    signed => ({ ...name, ...path, ...domain, ...rest, ...signed })
  )))))
}

t.test('every session cookie that a browser accepts is removed by the logout, and no other cookie is', async t => {
  let gone = 0
  let refused = 0
  for (const description of descriptions()) {
    const label = JSON.stringify(description)
    if (!isTakable(description)) {
      await t.rejects(signInAndOut(description), { name: 'TypeError', message: /option "cookie" must/ }, label)
      refused++
      continue
    }
    const { taken, statusCode, live, set, removed, before, after } = await signInAndOut(description)
    // A path below which the sign-in page does not lie is the host's mistake, and the jar takes it all the same.
    if (!taken || statusCode !== 303 || live || after !== before) t.fail(label, { taken, statusCode, live, before, after })
    if (JSON.stringify(identity(set)) !== JSON.stringify(identity(removed))) t.strictSame(identity(removed), identity(set), label)
    gone++
  }
  t.strictSame({ gone, refused }, { gone: 168, refused: 216 })
})

t.test('a cookie with other attributes than described is not removed', async t => {
  const jar = new CookieJar()
  await jar.setCookie(`sid=${token}; Path=/auth`, 'https://login.app.example/auth')
  await jar.setCookie('sid=; Path=/; Max-Age=0', 'https://login.app.example/auth')
  t.match(await held(jar, 'https://login.app.example'), /sid=/)
})
