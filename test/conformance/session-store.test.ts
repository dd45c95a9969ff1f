import { AssertionError } from 'node:assert'
import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { sessionStoreRules } from '../../lib/conformance/session-store.ts'
import type { NewSession, Session, SessionPage, SessionStore } from '../../lib/session-store.ts'
import { memorySessionStore } from '../../lib/session-stores/memory.ts'

type Break = (good: SessionStore) => Partial<SessionStore>

const creating = (change: (session: NewSession) => NewSession): Break => good => ({
  create: (token, session) => good.create(token, change(session))
})
const finding = (change: (session: Session | undefined) => Session | undefined): Break => good => ({
  find: async token => change(await good.find(token))
})
const listing = (change: (page: SessionPage) => SessionPage): Break => good => ({ list: page => good.list(change(page)) })
const counting = (change: (count: number) => number): Break => good => ({
  logOutSubject: async query => query.count ? change(await good.logOutSubject(query) ?? 0) : good.logOutSubject(query)
})

const broken: Record<string, Break> = {
  'a session is found by its token, active and with all of its members': finding(session => session && { ...session, data: undefined }),
  'an unknown session is undefined, not null and not an error': good => ({
    async logOutById (query) {
      const before = await good.logOutById(query)
      if (before === undefined) throw new Error('not found')
      return before
    }
  }),
  'a token or an id that is taken is refused, also after a logout, and the first session stays as it is': good => {
    const free = new Set<string>()
    return {
      async create (token, session) {
        if (free.has(token)) return
        await good.create(token, session)
      },
      async logOut (token) {
        free.add(token)
        return good.logOut(token)
      }
    }
  },
  'of 20 concurrent creations with one token exactly one is stored': good => ({
    async create (token, session) {
      if (await good.find(token) === undefined) await Promise.resolve(good.create(token, session)).catch(() => {})
    }
  }),
  'a logout resolves to the session as it was before: active once, then logged out': good => ({
    logOut: async token => {
      await good.logOut(token)
      return good.find(token)
    }
  }),
  'of 50 concurrent logouts of one session exactly one sees it active': readThenWrite,
  'of 50 concurrent logouts by token and by id exactly one sees it active': good => {
    let active = true
    return {
      async logOutById (query) {
        const before = await good.logOutById(query)
        const seen = before && { ...before, status: active ? 'active' as const : 'logged_out' as const }
        active = false
        return seen
      }
    }
  },
  'an expired session is returned as it is, and can be logged out': finding(
    session => session && session.expiresAt < Date.now() ? undefined : session
  ),
  'a session is forgotten after its keepUntil, and its token and id are free again': creating(session => ({
    ...session, keepUntil: session.keepUntil + 10_000
  })),
  'a logout by id reaches that session only, and with a subject only if it is theirs': good => ({
    logOutById: ({ id }) => good.logOutById({ id })
  }),
  'logging out a subject ends all of its sessions, and no others': good => ({
    async logOutSubject ({ subject }) {
      for (const { id } of await good.list({ subject, limit: 20 })) await good.logOutById({ id })
      return undefined
    }
  }),
  'a session opened after its subject was logged out is live, and the old ones stay logged out': good => {
    const cutoffs = new Map<string, number>()
    return {
      logOutSubject ({ subject }) {
        cutoffs.set(subject, Date.now())
        return undefined
      },
      async find (token) {
        const session = await good.find(token)
        return session && { ...session, status: session.createdAt <= (cutoffs.get(session.subject) ?? 0) ? 'logged_out' : session.status }
      }
    }
  },
  '"except" leaves this one session alone, again and again, until it is logged out itself': good => {
    let spared = false
    return {
      logOutSubject: ({ subject, except, count }) => {
        const again = spared
        spared = true
        return good.logOutSubject({ subject, except: again ? undefined : except, count })
      }
    }
  },
  '"except" does not bring back a session that was logged out with its subject': good => {
    let spared: string | undefined
    return {
      logOutSubject: query => {
        spared = query.except ?? spared
        return good.logOutSubject({ ...query, except: spared })
      }
    }
  },
  '"except" does not bring back a logged-out session, and does not affect other subjects': good => {
    let spared: string | undefined
    return {
      logOutSubject: query => {
        spared = query.except
        return good.logOutSubject(query)
      },
      async find (token) {
        const session = await good.find(token)
        return session && session.id === spared ? { ...session, status: 'active' } : session
      }
    }
  },
  'two concurrent logouts of a subject with different exceptions end both sessions': good => {
    const spared = new Set<string>()
    return {
      logOutSubject: query => {
        spared.add(query.except ?? '')
        return good.logOutSubject(query)
      },
      async find (token) {
        const session = await good.find(token)
        return session && spared.has(session.id) ? { ...session, status: 'active' } : session
      }
    }
  },
  'ten concurrent logouts of a subject with the same exception leave that session alone': good => {
    let busy = false
    return {
      async logOutSubject (query) {
        const collides = busy
        busy = true
        await nextTurn()
        busy = false
        return good.logOutSubject(collides ? { ...query, except: undefined } : query)
      }
    }
  },
  'the count is the number of live sessions that were ended, without excepted, expired and logged-out ones': counting(count => count + 1),
  'concurrent logouts of sessions and of their subject end each session once': good => ({
    async logOutSubject (query) {
      const { length } = await good.list({ subject: query.subject, limit: 1000 })
      await nextTurn()
      await good.logOutSubject(query)
      return query.count ? length : undefined
    }
  }),
  'after concurrent logins and logouts of a subject, all methods agree on which sessions are active': good => ({
    async create (token, session) {
      const dying = (await good.list({ subject: session.subject, limit: 1000 })).length === 0
      await good.create(token, session)
      if (dying) await good.logOut(token)
    },
    list: () => []
  }),
  'the list has live sessions only, newest first, and without the excepted one': listing(({ except: _, ...page }) => page),
  'pages of a list have each session once, even if all are of one instant and the last of a page is logged out': good => ({
    async list ({ after, limit, ...page }) {
      const all = await good.list({ ...page, limit: 1000 })
      return all.slice(all.findIndex(({ id }) => id === after?.id) + 1).sort((a, b) => a.id < b.id ? 1 : -1).slice(0, limit)
    }
  }),
  'ids, subjects and tokens are never interpreted: each is refused, or stored as it is': good => ({
    logOutSubject: async query => {
      if (query.subject === '%' || query.subject === '*') throw new TypeError('wildcards')
      return good.logOutSubject(query)
    },
    async logOutById (query) {
      if (query.id.includes('DROP')) throw new SyntaxError('syntax error at or near "DROP"')
      return good.logOutById(query)
    }
  }),
  'a number as an id or a subject is refused, or stands for its text': good => ({
    logOutSubject: async query => typeof query.subject === 'string' ? good.logOutSubject(query) : undefined
  }),
  'subjects that look alike are different subjects': good => ({
    create: (token, session) => good.create(token, { ...session, subject: session.subject.toLowerCase() }),
    logOutSubject: query => good.logOutSubject({ ...query, subject: query.subject.toLowerCase() })
  }),
  'the store is not affected when the caller changes a session afterwards': good => {
    const handedIn = new Map<string, NewSession>()
    return {
      create (token, session) {
        handedIn.set(token, session)
        return good.create(token, session)
      },
      async find (token) {
        const session = await good.find(token)
        return session && { ...session, data: handedIn.get(token)?.data }
      }
    }
  }
}

/** Further ways to break a rule. */
const brokenToo: Record<string, Break[]> = {
  'an unknown session is undefined, not null and not an error': [
    good => ({ find: async token => await good.find(token) ?? null as never }),
    good => ({ logOut: async token => await good.logOut(token) ?? null as never }),
    good => ({ logOutById: async query => await good.logOutById(query) ?? null as never })
  ],
  'a number as an id or a subject is refused, or stands for its text': [
    good => ({ logOutById: async query => typeof query.id === 'string' ? good.logOutById(query) : undefined }),
    good => {
      const numbers = new Map<unknown, unknown>()
      return {
        create (token, session) {
          numbers.set(String(session.id), session.id)
          return good.create(token, session)
        },
        async find (token) {
          const session = await good.find(token)
          return session && { ...session, id: numbers.get(session.id) as string }
        }
      }
    }
  ]
}

t.test('a store may refuse numbers as ids', async t => {
  const refuse = (id: unknown) => { if (typeof id === 'number') throw new TypeError('a number') }
  for (const { name, check } of sessionStoreRules) {
    if (!(name in brokenToo)) continue
    await t.resolves(check(() => {
      const good = asynchronous(memorySessionStore())
      return {
        ...good,
        async create (token, session) { refuse(session.id); return good.create(token, session) },
        async logOutById (query) { refuse(query.id); return good.logOutById(query) },
        async logOutSubject (query) { refuse(query.subject); return good.logOutSubject(query) }
      }
    }), name)
  }
})

for (const { name, check } of sessionStoreRules) {
  t.test(`caught: a store that breaks "${name}"`, async t => {
    const breakages = [broken[name], ...brokenToo[name] ?? []]
    await check(async () => asynchronous(memorySessionStore()))
    for (const breakage of breakages) {
      t.type(breakage, 'function', 'there is a store that breaks it')
      await t.rejects(check(async () => {
        const good = asynchronous(memorySessionStore())
        return { ...good, ...breakage?.(good) }
      }), name.startsWith('ids, subjects') || name.startsWith('an unknown session') ? Error : AssertionError)
    }
  })
}

/** The store as a database is: every answer takes a turn. */
function asynchronous (store: SessionStore): SessionStore {
  return {
    create: async (token, session) => store.create(token, session),
    find: async token => store.find(token),
    logOut: async token => store.logOut(token),
    logOutById: async query => store.logOutById(query),
    logOutSubject: async query => store.logOutSubject(query),
    list: async page => store.list(page)
  }
}

function readThenWrite (good: SessionStore): Partial<SessionStore> {
  return {
    async logOut (token) {
      const before = await good.find(token)
      await nextTurn()
      await good.logOut(token)
      return before
    }
  }
}
