import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import { AssertionError } from 'node:assert'
import { randomUUID } from 'node:crypto'
import t from 'tap'
import { sessionSourceRules, subjectLogoutRules, type SessionSourceHost } from '../../lib/conformance/session-source.ts'
import type { SessionSource } from '../../lib/session-source.ts'
import { kinds } from '../source-hosts.ts'

interface Visit { readonly id: string, readonly subject: string }
interface Row extends Visit { live: boolean }
type Rows = Map<string, Row>
type Good = Required<Omit<SessionSource<Visit>, 'readsCookie'>>
/** Breaks a good source. It gets the sessions by their credential. */
type Break = (good: Good, rows: Rows) => Partial<SessionSource<Visit>>

const credentialOf = ({ headers }: FastifyRequest) => String(headers['x-session'] ?? '')

/** A host whose sessions are rows in memory, looked up by a header. */
function hostWith (breakIt: Break): SessionSourceHost<Visit> {
  const rows: Rows = new Map()
  const shown = (row: Row | undefined) => row?.live === true ? { id: row.id, subject: row.subject } : undefined
  const good: Good = {
    find: request => shown(rows.get(credentialOf(request))),
    logOut: request => {
      const row = rows.get(credentialOf(request))
      const before = shown(row)
      if (row !== undefined) row.live = false
      return before
    },
    logOutSubject: ({ subject, except }) => {
      const ended = [...rows.values()].filter(row => row.live && row.subject === subject && row.id !== except)
      for (const row of ended) row.live = false
      return ended.length
    },
    forget: () => {}
  }
  const app = Fastify()
  const works = new Map<string, (request: FastifyRequest, reply: FastifyReply) => Promise<void>>()
  app.post<{ Params: { id: string } }>('/:id', async (request, reply) => { await works.get(request.params.id)?.(request, reply) })
  t.teardown(() => app.close())
  return {
    sessions: { ...good, ...breakIt(good, rows) },
    newSubject: () => randomUUID(),
    logIn: subject => {
      const credential = randomUUID()
      rows.set(credential, { id: randomUUID(), subject, live: true })
      return { 'x-session': credential }
    },
    handle: (headers, work) => new Promise((resolve, reject) => {
      const id = randomUUID()
      works.set(id, async (request, reply) => {
        try {
          resolve(await work(request, reply))
        } catch (error) {
          reject(error)
        }
      })
      app.inject({ method: 'POST', url: `/${id}`, headers }).catch(reject)
    })
  }
}

/** Fails as a broken source does that takes an expected outcome for an error. */
const fail = (): never => { throw new AssertionError({}) }
const unless = (subjects: Set<unknown>, row: Row | undefined) => row?.live === true && !subjects.has(row.subject) ? row : undefined
const later = () => new Promise(resolve => setImmediate(resolve))

const broken: Record<string, Break | readonly Break[]> = {
  'logging out resolves the session that was live, and nothing the second time': [
    (_good, rows) => ({ logOut: request => rows.get(credentialOf(request)) }),
    good => ({ logOut: async request => await good.logOut(request) === undefined ? undefined : true as never }),
    good => ({ logOut: async request => ({ ...await good.logOut(request) }) as Visit }),
    good => ({
      logOut: async request => {
        const session = await good.logOut(request); return session && {
          ...session,
          subject: 'somebody'
        }
      }
    })
  ],
  'of many concurrent calls exactly one resolves the session': (good, rows) => ({
    logOut: async request => {
      const before = await good.find(request)
      await later()
      const row = rows.get(credentialOf(request))
      if (row !== undefined) row.live = false
      return before
    }
  }),
  'a request without a credential has nothing to log out': [
    (good, rows) => ({ logOut: request => credentialOf(request) === '' ? [...rows.values()].find(row => row.live) : good.logOut(request) }),
    (good, rows) => ({
      logOut: request => {
        if (credentialOf(request) === '') for (const row of rows.values()) row.live = false
        return good.logOut(request)
      }
    }),
    good => ({ logOut: request => { if (credentialOf(request) === '') fail(); return good.logOut(request) } })
  ],
  'a forged credential has nothing to log out, and is not an error': [
    (good, rows) => ({
      logOut: request => {
        const given = credentialOf(request)
        const [credential = given] = [...rows.keys()].filter(known => known.slice(-8) === given.slice(-8))
        return good.logOut({ headers: { 'x-session': credential } } as unknown as FastifyRequest)
      }
    }),
    (good, rows) => ({ logOut: request => { if (!rows.has(credentialOf(request))) fail(); return good.logOut(request) } })
  ],
  'only the session of this request is logged out': (good, rows) => ({
    logOut: async request => {
      const ended = await good.logOut(request)
      for (const row of rows.values()) if (row.subject === ended?.subject) row.live = false
      return ended
    }
  }),
  'each session has an id of its own, which is not its credential': [
    good => ({
      logOut: async request => {
        const session = await good.logOut(request); return session && {
          ...session,
          id: session.subject
        }
      }
    }),
    good => ({
      logOut: async request => {
        const session = await good.logOut(request); return session && {
          ...session,
          id: credentialOf(request)
        }
      }
    })
  ],
  'forgetting is synchronous, can be repeated, and needs no session': [
    () => ({ forget: async () => {} }),
    () => { let time = 0; return { forget: () => { if (time++ % 2 === 1) fail() } } },
    (_good, rows) => ({ forget: request => { if (!rows.has(credentialOf(request))) fail() } })
  ],
  'a live session is found as it is logged out, and no longer afterwards': [
    (_good, rows) => ({ find: request => rows.get(credentialOf(request)) }),
    good => ({ find: request => good.logOut(request) }),
    good => ({ find: async request => { const session = await good.find(request); return session && { ...session, id: randomUUID() } } }),
    good => ({
      find: async request => {
        const session = await good.find(request); return session && {
          ...session,
          subject: 'somebody'
        }
      }
    }),
    () => ({ find: () => undefined })
  ],
  'without a credential, or with a forged one, nothing is found': [
    (good, rows) => ({
      find: request => credentialOf(request) === ''
        ? [...rows.values()].find(row => row.live) ?? {
            id: 'a',
            subject: 'b'
          }
        : good.find(request)
    }),
    (good, rows) => ({ find: request => { if (!rows.has(credentialOf(request))) fail(); return good.find(request) } })
  ],
  'logging out a subject ends all of its sessions, and no others': [
    (_good, rows) => ({
      logOutSubject: ({ subject }) => {
        const row = [...rows.values()].find(row => row.subject === subject)
        if (row !== undefined) row.live = false
      }
    }),
    (_good, rows) => ({ logOutSubject: () => { for (const row of rows.values()) row.live = false } })
  ],
  '"except" leaves exactly one session alone': [
    good => ({ logOutSubject: ({ subject }) => good.logOutSubject({ subject }) }),
    good => ({ logOutSubject: query => query.except === undefined ? good.logOutSubject(query) : 0 })
  ],
  '"except" does not bring back a session that was logged out': (good, rows) => ({
    logOutSubject: query => {
      for (const row of rows.values()) if (row.id === query.except) row.live = true
      return good.logOutSubject(query)
    }
  }),
  'two devices that log out the others end each other': good => {
    const excepted = new Set<unknown>()
    return {
      logOutSubject: query => {
        if (query.except !== undefined && excepted.has(query.subject)) return 0
        excepted.add(query.subject)
        return good.logOutSubject(query)
      }
    }
  },
  'a session that was ended with all of its subject is not logged out once more': (_good, rows) => {
    const cutOff = new Set<unknown>()
    return {
      find: request => unless(cutOff, rows.get(credentialOf(request))),
      logOutSubject: ({ subject }) => { cutOff.add(subject) }
    }
  },
  // Remembers for a whole request what it found.
  'nor is a session that ends with all of its subject after it was found': good => {
    const found = new WeakMap<FastifyRequest, Visit | undefined>()
    return {
      find: async request => {
        found.set(request, await good.find(request) ?? undefined)
        return found.get(request)
      },
      logOut: async request => {
        const ended = await good.logOut(request)
        return found.get(request) ?? ended
      }
    }
  },
  'a later login is live': (_good, rows) => {
    const blocked = new Set<unknown>()
    return {
      find: request => unless(blocked, rows.get(credentialOf(request))),
      logOutSubject: ({ subject }) => { blocked.add(subject) }
    }
  },
  'logging out a subject can be repeated, and a number is that of its sessions': [
    good => ({ logOutSubject: async query => { await good.logOutSubject(query); return 1 } }),
    good => ({ logOutSubject: async query => { await good.logOutSubject(query); return 'many' as never } }),
    (good, rows) => ({
      logOutSubject: query => {
        if (![...rows.values()].some(row => row.live && row.subject === query.subject)) fail()
        return good.logOutSubject(query)
      }
    })
  ]
}

const rules = [...sessionSourceRules, ...subjectLogoutRules]

t.test('a correct source passes every rule', async t => {
  for (const rule of rules) await t.resolves(rule.check(() => hostWith(() => ({}))), rule.name)
})

t.test('each rule detects a source that breaks its promise', async t => {
  t.strictSame(Object.keys(broken).sort(), rules.map(({ name }) => name).sort())
  for (const rule of rules) {
    for (const breakIt of [broken[rule.name] ?? []].flat()) {
      await t.rejects(rule.check(() => hostWith(breakIt)), AssertionError, `${rule.name}: ${String(breakIt)}`)
    }
  }
})

t.test('a source with only logOut passes the rules for every source', async t => {
  const alone: Break = () => ({ find: undefined, logOutSubject: undefined, forget: undefined }) as never
  for (const rule of sessionSourceRules) await t.resolves(rule.check(() => hostWith(alone)), rule.name)
})

let subjects = 1000
for (const kind of kinds) {
  t.test(`our sources keep every promise: ${kind.name}`, async t => {
    const { sessions, handle, logIn } = await kind.make(t)
    const host: SessionSourceHost = {
      sessions: sessions as SessionSource,
      newSubject: () => kind.name === 'plain functions' ? subjects++ : randomUUID(),
      logIn: async subject => {
        const device = await logIn(String(subject))
        const cookie = Array.from(device.cookies, ([name, value]) => `${name}=${value}`).join('; ')
        return { ...device.headers, ...(cookie !== '' && { cookie }) }
      },
      handle
    }
    for (const rule of rules) await t.resolves(rule.check(() => host), rule.name)
  })
}
