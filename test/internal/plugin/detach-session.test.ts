import fastifyCookie from '@fastify/cookie'
import fastifySession from '@fastify/session'
import Fastify, { type FastifyRequest } from 'fastify'
import t from 'tap'
import { askWithin } from '../../../lib/internal/plugin/ask.ts'
import { detachEndedSession, detachSession, hostSessionId } from '../../../lib/internal/plugin/detach-session.ts'

const ask = askWithin(50, 'test')

/** A request as `@fastify/session` leaves it to the handlers, and the warnings that it logged. */
function requestWith (session: unknown, get: (id: string, done: (error: unknown, session?: unknown) => void) => void = () => {}) {
  const warnings: unknown[] = []
  const request = { session, sessionStore: { get }, log: { warn: (...line: unknown[]) => { warnings.push(line) } } }
  return { request: request as unknown as FastifyRequest & { session: Record<string, unknown> }, warnings }
}

const session = { sessionId: 'one', encryptedSessionId: 'one.signature', user: 'alice' }

t.test('only a session of @fastify/session has an id', async t => {
  t.equal(hostSessionId(requestWith(session).request), 'one')
  const halves = [{ sessionId: 'one' }, { encryptedSessionId: 'x' }, { ...session, sessionId: 1 }, { ...session, encryptedSessionId: 1 }]
  for (const other of [undefined, null, 'text', {}, ...halves]) {
    t.equal(hostSessionId(requestWith(other).request), undefined)
  }
  t.equal(hostSessionId({} as FastifyRequest), undefined)
})

t.test('a session is detached only if its id matches', async t => {
  const { request } = requestWith(session)
  detachSession(request, 'another')
  t.equal(request.session, session)
  detachSession(request, 'one')
  t.not(request.session, session)
  t.equal(hostSessionId(request), undefined)
  const detached = request.session
  detachSession(request, 'one')
  t.equal(request.session, detached)
})

t.test('a session is detached if its store no longer has it, or fails', async t => {
  const isKept = async (get: Parameters<typeof requestWith>[1]) => {
    const { request, warnings } = requestWith(session, get)
    await detachEndedSession(request, ask)
    return [request.session === session, warnings.length]
  }
  t.strictSame(await isKept((id, done) => done(null, id === 'one' ? {} : null)), [true, 0])
  t.strictSame(await isKept((_id, done) => done(undefined, {})), [true, 0])
  t.strictSame(await isKept((_id, done) => done(null)), [false, 0])
  t.strictSame(await isKept((_id, done) => done(null, null)), [false, 0])
  t.strictSame(await isKept((_id, done) => done(Object.assign(new Error('no file'), { code: 'ENOENT' }), {})), [false, 0])
  t.strictSame(await isKept((_id, done) => done(new Error('down'))), [false, 1])
  t.strictSame(await isKept(() => { throw new Error('down') }), [false, 1])
  t.strictSame(await isKept(() => {}), [false, 1], 'nor does one that never calls back')

  const { request, warnings } = requestWith({ ...session, encryptedSessionId: undefined }, () => { throw new Error('not to be asked') })
  await detachEndedSession(request, ask)
  t.equal(request.session.user, 'alice', 'what is no session of the plugin is left alone')
  t.strictSame(warnings, [])
})

t.test('a detached session is empty, and its methods and members work', async t => {
  const { request } = requestWith(session)
  detachSession(request, 'one')
  const detached = request.session as unknown as fastifySession.FastifySessionObject & Record<string, unknown>
  t.strictSame([Object.keys(detached), JSON.stringify(detached), { ...detached }], [[], '{}', {}])
  t.strictSame([detached.user, detached.sessionId, detached.encryptedSessionId], [undefined, undefined, undefined])
  t.strictSame(detached.cookie, {})

  detached.set('user' as never, 'bob' as never)
  t.equal(detached.get('user' as never), 'bob')
  t.equal(detached.user, 'bob')
  detached.cart = [1]
  t.strictSame(detached.get('cart' as never), [1])
  detached.touch()
  detached.options({})
  t.strictSame([detached.isModified(), detached.isSaved()], [false, false])

  for (const method of ['save', 'reload', 'destroy', 'regenerate'] as const) {
    t.equal(await detached[method](), undefined, method)
    await new Promise<void>((resolve, reject) => detached[method](error => error ? reject(error) : resolve()))
  }
  await detached.regenerate(['user'])
  await new Promise<void>((resolve, reject) => detached.regenerate(['user'], error => error ? reject(error) : resolve()))
  t.equal(detached.user, 'bob')
  t.equal(request.session, detached)
})

t.test('the detached sessions of two requests share nothing', async t => {
  const [first, second] = [requestWith(session).request, requestWith(session).request]
  detachSession(first, 'one')
  detachSession(second, 'one')
  t.not(first.session, second.session)
  Object.assign(first.session.cookie as object, { path: '/admin' })
  first.session.touch = () => { throw new Error('overwritten') }
  t.strictSame(second.session.cookie, {})
  t.doesNotThrow(() => (second.session.touch as () => void)())
})

t.test('@fastify/session neither saves nor sends a detached session, which has all of its methods', async t => {
  const app = Fastify({ trustProxy: true })
  t.teardown(() => app.close())
  const store = new Map<string, unknown>()
  await app.register(fastifyCookie)
  const MemoryStore = fastifySession.MemoryStore as unknown as new (map: object) => fastifySession.SessionStore
  await app.register(fastifySession, { secret: 's'.repeat(32), store: new MemoryStore(store) })
  app.get('/detach', async request => {
    const original = request.session
    detachSession(request, original.sessionId)
    const ids = ['constructor', 'sessionId', 'encryptedSessionId']
    const members = Object.getOwnPropertyNames(Object.getPrototypeOf(original)).filter(name => !ids.includes(name))
    return [...members, 'cookie'].filter(name => typeof Reflect.get(request.session, name) !== typeof Reflect.get(original, name))
  })
  const { headers, body } = await app.inject({ url: '/detach', headers: { 'x-forwarded-proto': 'https' } })
  t.equal(body, '[]')
  t.equal(headers['set-cookie'], undefined)
  t.equal(store.size, 0)
})
