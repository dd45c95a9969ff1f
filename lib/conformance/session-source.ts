import { equal, ok } from 'node:assert/strict'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Awaitable } from '../awaitable.ts'
import type { HostSession, SessionSource, SubjectSessions } from '../session-source.ts'
import type { Rule } from '../internal/conformance/rule.ts'

export type { Rule } from '../internal/conformance/rule.ts'

/** The headers with which a device sends its credential. */
export type DeviceHeaders = Readonly<Record<string, string>>

/** A host with the source to be checked. */
export interface SessionSourceHost<S extends HostSession = HostSession> {
  readonly sessions: SessionSource<S>
  /** Returns a user that no other rule uses. */
  newSubject (): S['subject']
  /** Logs a user in on a new device. Resolves the headers with its credential. */
  logIn (subject: S['subject']): Awaitable<DeviceHeaders>
  /**
   * Runs the work in a handler of the host, for a request with these headers: after the hooks of the session plugin, and
   * without a guard. Resolves or rejects as the work does.
   */
  handle<T> (headers: DeviceHeaders, work: (request: FastifyRequest, reply: FastifyReply) => Awaitable<T>): Promise<T>
}

/** Makes the host. It may hold other sessions and be the same each time. */
export type MakeSessionSourceHost = () => Awaitable<SessionSourceHost>

/**
 * The promises of every {@link SessionSource}: those of `logOut` and `forget`.
 *
 * @example
 * ```ts
 * import fastifyCookie from '@fastify/cookie'
 * import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
 * import type { Session } from 'fastify-logout'
 * import { sessionSourceRules, subjectLogoutRules, type SessionSourceHost } from 'fastify-logout/conformance/session-source'
 * import { sessionStoreSource } from 'fastify-logout/session-sources/session-store'
 * import { memorySessionStore } from 'fastify-logout/session-stores/memory'
 * import { randomUUID } from 'node:crypto'
 * import test from 'node:test'
 *
 * const store = memorySessionStore()
 * const app = Fastify()
 * await app.register(fastifyCookie)
 * const works = new Map<string, (request: FastifyRequest, reply: FastifyReply) => Promise<void>>()
 * app.post('/:id', async (request, reply) => { await works.get((request.params as { id: string }).id)?.(request, reply) })
 *
 * const host: SessionSourceHost<Session> = {
 *   sessions: sessionStoreSource(store, { cookie: { name: 'sid' } }),
 *   newSubject: () => randomUUID(),
 *   logIn: async subject => {
 *     const [token, now] = [randomUUID(), Date.now()]
 *     await store.create(token, { id: randomUUID(), subject, createdAt: now, expiresAt: now + 60_000, keepUntil: now + 60_000 })
 *     return { cookie: `sid=${token}` }
 *   },
 *   handle: (headers, work) => new Promise((resolve, reject) => {
 *     const id = randomUUID()
 *     works.set(id, async (request, reply) => { await Promise.resolve(work(request, reply)).then(resolve, reject) })
 *     app.inject({ method: 'POST', url: `/${id}`, headers }).catch(reject)
 *   })
 * }
 * for (const rule of [...sessionSourceRules, ...subjectLogoutRules]) test(rule.name, () => rule.check(() => host))
 * ```
 */
export const sessionSourceRules: ReadonlyArray<Rule<MakeSessionSourceHost>> = [
  rule('logging out resolves the session that was live, and nothing the second time', async ({ alice, logIn, logOut }) => {
    const laptop = await logIn(alice)
    const ended = await logOut(laptop)
    assertSession(ended)
    equal(ended.subject, alice, 'the session is of the user who had logged in')
    assertNone(await logOut(laptop))
  }),

  rule('of many concurrent calls exactly one resolves the session', async ({ alice, logIn, logOut }) => {
    const laptop = await logIn(alice)
    const ended = await Promise.all(Array.from({ length: 20 }, () => logOut(laptop)))
    equal(ended.filter(isSession).length, 1, 'one of 20 calls resolves the session')
  }),

  rule('a request without a credential has nothing to log out', async ({ alice, logIn, logOut }) => {
    const laptop = await logIn(alice)
    assertNone(await logOut({}))
    assertSession(await logOut(laptop))
  }),

  rule('a forged credential has nothing to log out, and is not an error', async ({ alice, logIn, logOut }) => {
    const laptop = await logIn(alice)
    for (const forged of forgeries(laptop)) assertNone(await logOut(forged))
    assertSession(await logOut(laptop))
  }),

  rule('only the session of this request is logged out', async ({ alice, bob, logIn, logOut }) => {
    const [laptop, phone, bobs] = [await logIn(alice), await logIn(alice), await logIn(bob)]
    assertSession(await logOut(laptop))
    assertSession(await logOut(phone))
    assertSession(await logOut(bobs))
  }),

  rule('each session has an id of its own, which is not its credential', async ({ alice, logIn, logOut }) => {
    const devices = [await logIn(alice), await logIn(alice)]
    const ids: unknown[] = []
    for (const device of devices) {
      const ended = await logOut(device)
      assertSession(ended)
      ids.push(ended.id)
      // A short id, such as a number, may occur in anything.
      const isTold = Object.values(device).some(value => String(ended.id).length > 8 && decodedParts(value).includes(String(ended.id)))
      ok(!isTold, 'the id does not open the session')
    }
    equal(new Set(ids).size, 2, 'two sessions have two ids')
  }),

  rule('forgetting is synchronous, can be repeated, and needs no session', async ({ alice, sessions, logIn, handle }) => {
    for (const device of [await logIn(alice), {}]) {
      await handle(device, async (request, reply) => {
        await sessions.logOut(request)
        for (let time = 0; time < 2; time++) equal(sessions.forget?.(request, reply), undefined, 'nothing is to be awaited')
      })
    }
  })
]

/**
 * The promises of `find` and `logOutSubject`, for sources that have both: they offer the scopes `others` and `all`.
 *
 * @example
 * ```ts
 * import { subjectLogoutRules, type MakeSessionSourceHost } from 'fastify-logout/conformance/session-source'
 * import test from 'node:test'
 *
 * // Your own host, as in the example of sessionSourceRules.
 * declare const makeHost: MakeSessionSourceHost
 *
 * for (const rule of subjectLogoutRules) test(rule.name, () => rule.check(makeHost))
 * ```
 */
export const subjectLogoutRules: ReadonlyArray<Rule<MakeSessionSourceHost>> = [
  rule('a live session is found as it is logged out, and no longer afterwards', async ({ alice, logIn, logOut, find }) => {
    const laptop = await logIn(alice)
    const found = await find(laptop)
    assertSession(found)
    equal(found.subject, alice)
    assertSession(await find(laptop), 'finding ends nothing')
    const ended = await logOut(laptop)
    assertSession(ended)
    equal(ended.id, found.id, 'both have the same id')
    assertNone(await find(laptop))
  }),

  rule('without a credential, or with a forged one, nothing is found', async ({ alice, logIn, find }) => {
    assertNone(await find({}))
    const laptop = await logIn(alice)
    for (const forged of forgeries(laptop)) assertNone(await find(forged))
    assertSession(await find(laptop))
  }),

  rule('logging out a subject ends all of its sessions, and no others', async ({ alice, bob, logIn, find, logOutSubject }) => {
    const [laptop, phone, bobs] = [await logIn(alice), await logIn(alice), await logIn(bob)]
    await logOutSubject({ subject: alice })
    assertNone(await find(laptop))
    assertNone(await find(phone))
    assertSession(await find(bobs))
  }),

  rule('"except" leaves exactly one session alone', async ({ alice, logIn, find, logOutSubject }) => {
    const [laptop, phone, tablet] = [await logIn(alice), await logIn(alice), await logIn(alice)]
    await logOutSubject({ subject: alice, except: await idOf(find(laptop)) })
    assertSession(await find(laptop))
    assertNone(await find(phone))
    assertNone(await find(tablet))
  }),

  rule('"except" does not bring back a session that was logged out', async ({ alice, logIn, logOut, find, logOutSubject }) => {
    const laptop = await logIn(alice)
    const except = await idOf(find(laptop))
    await logOut(laptop)
    await logOutSubject({ subject: alice, except })
    assertNone(await find(laptop))
  }),

  rule('two devices that log out the others end each other', async ({ alice, logIn, find, logOutSubject }) => {
    const [laptop, phone] = [await logIn(alice), await logIn(alice)]
    const ids = [await idOf(find(laptop)), await idOf(find(phone))]
    await Promise.all(ids.map(except => logOutSubject({ subject: alice, except })))
    assertNone(await find(laptop))
    assertNone(await find(phone))
  }),

  rule('a session that was ended with all of its subject is not logged out once more', async ({ alice, logIn, logOut, logOutSubject }) => {
    const laptop = await logIn(alice)
    await logOutSubject({ subject: alice })
    assertNone(await logOut(laptop))
  }),

  rule('nor is a session that ends with all of its subject after it was found', async ({ alice, logIn, handle, sessions, ...bench }) => {
    const laptop = await logIn(alice)
    assertNone(await handle(laptop, async request => {
      assertSession(await sessions.find?.(request))
      await bench.logOutSubject({ subject: alice })
      return sessions.logOut(request)
    }))
  }),

  rule('a later login is live', async ({ alice, logIn, find, logOutSubject }) => {
    await logIn(alice)
    await logOutSubject({ subject: alice })
    await nextSecond()
    assertSession(await find(await logIn(alice)))
  }),

  rule('logging out a subject can be repeated, and a number is that of its sessions', async ({ alice, logIn, logOutSubject }) => {
    const counts = [await logOutSubject({ subject: alice })]
    await logIn(alice)
    await logIn(alice)
    counts.push(await logOutSubject({ subject: alice }), await logOutSubject({ subject: alice }))
    const expected = counts.every(count => typeof count === 'number') ? [0, 2, 0] : counts
    equal(JSON.stringify(counts), JSON.stringify(expected), 'no number, or the right one')
    ok(counts.every(count => count === undefined || typeof count === 'number'), 'a number or nothing')
  })
]

/** What a rule works with. */
interface Bench extends Pick<SessionSourceHost, 'sessions' | 'logIn' | 'handle'> {
  readonly alice: string | number
  readonly bob: string | number
  readonly logOut: (device: DeviceHeaders) => Promise<unknown>
  readonly find: (device: DeviceHeaders) => Promise<unknown>
  readonly logOutSubject: (query: SubjectSessions) => Promise<unknown>
}

function rule (name: string, check: (bench: Bench) => Promise<void>): Rule<MakeSessionSourceHost> {
  return {
    name,
    check: async make => {
      const host = await make()
      const { sessions } = host
      await check({
        sessions,
        logIn: subject => host.logIn(subject),
        handle: (device, work) => host.handle(device, work),
        alice: host.newSubject(),
        bob: host.newSubject(),
        logOut: device => host.handle(device, request => sessions.logOut(request)),
        find: device => host.handle(device, request => sessions.find?.(request)),
        logOutSubject: async query => sessions.logOutSubject?.(query)
      })
    }
  }
}

function isSession (value: unknown): value is HostSession {
  return typeof value === 'object' && value !== null
}

function assertSession (value: unknown, message = 'it resolves the session, with an id and a subject'): asserts value is HostSession {
  ok(isSession(value) && isId(value.id) && isId(value.subject), message)
}

function isId (value: unknown): boolean {
  return typeof value === 'number' || (typeof value === 'string' && value !== '')
}

function assertNone (value: unknown): void {
  ok(value === undefined || value === null, 'it resolves nothing: undefined or null')
}

async function idOf (found: Promise<unknown>): Promise<string | number> {
  const session = await found
  assertSession(session)
  return session.id
}

/** The headers of a device with its credential altered, cut off, emptied and replaced. */
function forgeries (device: DeviceHeaders): DeviceHeaders[] {
  const changes: ReadonlyArray<(secret: string) => string> = [
    secret => String.fromCharCode(secret.charCodeAt(0) ^ 1) + secret.slice(1),
    secret => secret.slice(0, secret.length / 2),
    () => '', () => 'x', () => '%zz'
  ]
  return changes.map(change => Object.fromEntries(Object.entries(device).map(([name, value]) => [name, forged(value, change)])))
}

/** Changes what follows the name of each cookie, or the scheme of an `Authorization` header. */
function forged (header: string, change: (secret: string) => string): string {
  const parts = header.split('; ')
  return parts.map(part => part.replace(/^([^ =]*[ =])?(.*)$/s, (_, prefix = '', secret: string) => prefix + change(secret))).join('; ')
}

/** What stands in a header: the values of cookies, decoded. */
function decodedParts (header: string): string[] {
  return header.split(/[;,=\s]+/).map(part => part.replace(/%([\da-f]{2})/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16))))
}

/** A login time that comes from an `iat` counts whole seconds. */
async function nextSecond (): Promise<void> {
  const second = Math.floor(Date.now() / 1000)
  while (Math.floor(Date.now() / 1000) === second) await new Promise(resolve => { setTimeout(resolve, 20) })
}
