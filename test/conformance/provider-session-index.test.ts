import { AssertionError } from 'node:assert'
import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { providerSessionIndexRules } from '../../lib/conformance/provider-session-index.ts'
import type { BoundSession, ProviderLogin, ProviderLogout, ProviderSessionIndex } from '../../lib/provider-session-index.ts'
import { memoryProviderSessionIndex } from '../../lib/provider-session-indexes/memory.ts'

type Break = (good: ProviderSessionIndex) => Partial<ProviderSessionIndex>

const binding = (change: (login: ProviderLogin) => ProviderLogin): Break => good => ({
  bind: (login, session, until) => good.bind(change(login), session, until)
})
const bindingAs = (change: (session: BoundSession) => BoundSession): Break => good => ({
  bind: (login, session, until) => good.bind(login, change(session), until)
})
const loggingOut = (change: (logout: ProviderLogout) => ProviderLogout): Break => good => ({
  logOut: logout => good.logOut(change(logout))
})
const judging = (change: (verdict: 'live' | 'revoked', login: ProviderLogin) => 'live' | 'revoked'): Break => good => ({
  bind: async (login, session, until) => change(await good.bind(login, session, until), login)
})
const listing = (change: (found: readonly BoundSession[]) => readonly BoundSession[]): Break => good => ({
  logOut: async logout => change(await good.logOut(logout))
})
type Ids = { readonly issuer: string, readonly subject?: string | undefined, readonly sid?: string | undefined }
const both = (change: <T extends Ids>(ids: T) => T): Break => good => ({
  bind: (login, session, until) => good.bind(change(login), session, until),
  logOut: logout => good.logOut(change(logout))
})

/** For each rule, the ways to break it. */
const broken: Readonly<Record<string, readonly Break[]>> = {
  'a login is live, and a logout that covers nobody resolves an empty list': [
    judging(() => 'revoked'),
    listing(found => found.length === 0 ? [{ sessionId: '1', subject: 'alice' }] : found)
  ],
  'a logout by sid resolves the sessions of that sid, again and again, and no others': [
    forgettingWhatItListed,
    listing(found => found.slice(0, 1)),
    binding(login => ({ ...login, sid: login.sid ?? 'phone' })),
    loggingOut(logout => ({ issuer: logout.issuer, cutoff: logout.cutoff, until: logout.until, subject: 'alice' }))
  ],
  'a session comes back with the ids that it was bound with': [
    bindingAs(({ sessionId, subject }) => ({ sessionId: sessionId.replaceAll('"', ''), subject })),
    good => ({ bind: (login, session, until) => good.bind(login, { ...session, subject: login.subject }, until) })
  ],
  'a logout that comes before its login wins: the login is revoked': [
    judging(() => 'live'),
    rememberingNoLogout('sid'),
    rememberingNoLogout('subject')
  ],
  'a login that was issued after the cutoff is live, in the same provider session too': [
    loggingOut(logout => ({ ...logout, cutoff: logout.cutoff + 1 })),
    loggingOut(logout => ({ ...logout, cutoff: logout.cutoff - 1 })),
    loggingOut(logout => logout.sid === undefined ? logout : { ...logout, cutoff: Number.MAX_SAFE_INTEGER })
  ],
  'a logout by subject resolves all sessions of the subject until the cutoff, with and without sid': [
    loggingOut(logout => ({ ...logout, cutoff: Number.MAX_SAFE_INTEGER })),
    good => ({ bind: (login, session, until) => login.sid === undefined ? 'live' : good.bind(login, session, until) }),
    loggingOut(logout => ({ ...logout, cutoff: logout.cutoff - 1 })),
    both(ids => ({ ...ids, subject: ids.subject === undefined ? undefined : 'everybody' }))
  ],
  'a logout by sid and subject does not reach another subject with the same sid': [
    loggingOut(({ issuer, sid, subject, cutoff, until }) => sid === undefined
      ? { issuer, subject, cutoff, until }
      : { issuer, sid, cutoff, until }),
    loggingOut(logout => logout.subject === undefined ? logout : { ...logout, sid: undefined, subject: logout.subject }),
    rememberingNoLogout('both')
  ],
  'a logout by sid and subject reaches sessions of the subject that were bound without a sid': [
    withoutSidIsNotReached,
    judging((verdict, { sid }) => sid === undefined ? 'live' : verdict)
  ],
  'another issuer with the same sid and subject is not touched': [
    both(ids => ({ ...ids, issuer: ids.issuer.replace(/\/$/, '') })),
    both(ids => ids.sid === undefined ? { ...ids, issuer: 'any' } : ids)
  ],
  'a session that two logins opened is resolved by the logout of either, and once': [
    onlyOneLoginForEachSession,
    listing(found => [...found, ...found.slice(0, 1)])
  ],
  'a login that is bound twice stays bound for the longer time, whichever came first': [
    lastTimeCounts,
    firstTimeCounts
  ],
  'a later ID Token for the same session does not save it from the logout of an earlier one': [onlyOneLoginForEachSession],
  'cutoffs join: an older logout that comes last takes nothing back': [
    lastCutoffCounts,
    good => ({ logOut: async logout => (await good.logOut(logout)).slice(0, logout.until % 1000 === 0 ? 1 : 0) }),
    givenCutoffLists
  ],
  'a logout whose time is over is forgotten, and a later one does not bring its cutoff back': [
    loggingOut(logout => ({ ...logout, until: logout.until + 3_600_000 })),
    cutoffsComeBack
  ],
  'a login whose time is over is not resolved any more': [
    good => ({ bind: (login, session, until) => good.bind(login, session, until + 3_600_000) })
  ],
  'of 50 logins and logouts at the same time, each login is revoked or in the list of a logout': [
    checkingBeforeItRemembers,
    listingBeforeItRemembers
  ],
  'a logout resolves a thousand sessions, each once': [listing(found => found.slice(0, 999)), listing(found => [...found, ...found])],
  'ids of the provider that look alike are different ids': [
    both(ids => changed(ids, id => id.toLowerCase())),
    both(ids => changed(ids, id => id.trim())),
    both(ids => changed(ids, id => id.normalize())),
    both(ids => changed(ids, id => id.normalize('NFKC'))),
    both(ids => changed(ids, id => Buffer.from(id).toString())),
    both(ids => changed(ids, id => id.replace(/\0.*/, '') || 'a')),
    both(ids => changed(ids, id => id.slice(0, 1000)))
  ],
  'an issuer and an id that are split elsewhere are another pair': [
    both(ids => ids.sid === undefined ? ids : { ...ids, issuer: 'any', sid: ids.issuer + ids.sid }),
    both(ids => ids.subject === undefined ? ids : { ...ids, issuer: 'any', subject: `${ids.issuer}|${ids.subject}` })
  ],
  'ids are never interpreted: each is refused, or kept as it is': [
    good => ({
      logOut: async logout => logout.sid?.includes('DROP') === true ? [] : good.logOut(logout)
    }),
    bindingAs(({ sessionId, subject }) => ({ sessionId: sessionId.slice(0, 1000), subject: subject.slice(0, 1000) })),
    good => {
      let isDropped = false
      return {
        bind: (login, session, until) => {
          isDropped ||= session.sessionId.includes('DROP')
          return good.bind(login, session, until)
        },
        logOut: async logout => isDropped && logout.sid === 'innocent' ? [] : good.logOut(logout)
      }
    }
  ],
  'an empty id and a time that is not whole milliseconds are refused, and nothing is remembered': [
    good => ({ bind: async (...values) => Promise.resolve(good.bind(...values)).catch(() => 'live' as const) }),
    loggingOut(logout => ({ ...logout, cutoff: Math.floor(logout.cutoff) })),
    loggingOut(logout => ({ ...logout, until: Math.floor(logout.until) })),
    binding(login => ({ ...login, issuedAt: Math.floor(login.issuedAt) })),
    good => ({ bind: (login, session, until) => good.bind(login, session, Math.floor(until)) }),
    binding(login => ({ ...login, sid: login.sid === null as never ? undefined : login.sid })),
    bindingAs(({ sessionId, subject }) => ({ sessionId: sessionId === '' ? 'none' : sessionId, subject })),
    rememberingWhatItRefuses
  ],
  'a number as an id of the host is refused, or is its text': [
    numbersComeBack,
    bindingAs(({ subject }) => ({ sessionId: 'another', subject }))
  ],
  'what the caller does to a list or to what it has bound changes nothing in the index': [keepingWhatItGets, givingWhatItKeeps]
}

t.test('a good index, asynchronous as a database is, passes every rule', async t => {
  for (const { name, check } of providerSessionIndexRules) await t.resolves(check(() => asynchronous(memoryProviderSessionIndex())), name)
  t.strictSame(Object.keys(broken), providerSessionIndexRules.map(({ name }) => name), 'there are indexes that break each of them')
})

t.test('an index may refuse numbers as ids of the host', async t => {
  const rule = providerSessionIndexRules.find(({ name }) => name.startsWith('a number'))
  const good = asynchronous(memoryProviderSessionIndex())
  await t.resolves(async () => rule?.check(() => ({ ...good, bind: async () => { throw new TypeError('a number') } })))
})

for (const { name, check } of providerSessionIndexRules) {
  for (const [place, breakage] of (broken[name] ?? []).entries()) {
    t.test(`caught: an index that breaks "${name}" (${place + 1})`, async t => {
      await t.rejects(check(() => {
        const good = asynchronous(memoryProviderSessionIndex())
        return { ...good, ...breakage(good) }
      }), AssertionError)
    })
  }
}

/** The index as a database is: every answer takes a turn. */
function asynchronous (index: ProviderSessionIndex) {
  return {
    bind: async (login: ProviderLogin, session: BoundSession, until: number) => index.bind(login, session, until),
    logOut: async (logout: ProviderLogout) => index.logOut(logout)
  }
}

function changed<T extends Ids> (ids: T, change: (id: string) => string): T {
  return {
    ...ids,
    ...(ids.subject !== undefined && { subject: change(ids.subject) }),
    ...(ids.sid !== undefined && { sid: change(ids.sid) })
  }
}

function forgettingWhatItListed (good: ProviderSessionIndex): Partial<ProviderSessionIndex> {
  const listed = new Set<string>()
  return {
    logOut: async logout => {
      const found = (await good.logOut(logout)).filter(({ sessionId }) => !listed.has(sessionId))
      for (const { sessionId } of found) listed.add(sessionId)
      return found
    }
  }
}

/** Logouts of this kind list, and are not remembered. */
function rememberingNoLogout (kind: 'sid' | 'subject' | 'both'): Break {
  return good => ({
    logOut: logout => {
      const its = logout.sid === undefined ? 'subject' : logout.subject === undefined ? 'sid' : 'both'
      return good.logOut(its === kind ? { ...logout, until: 0 } : logout)
    }
  })
}

function withoutSidIsNotReached (good: ProviderSessionIndex): Partial<ProviderSessionIndex> {
  const withSid = new Set<string>()
  return {
    bind: (login, session, until) => {
      if (login.sid !== undefined) withSid.add(session.sessionId)
      return good.bind(login, session, until)
    },
    logOut: async logout => (await good.logOut(logout)).filter(({ sessionId }) => logout.sid === undefined || withSid.has(sessionId))
  }
}

function onlyOneLoginForEachSession (good: ProviderSessionIndex): Partial<ProviderSessionIndex> {
  const last = new Map<string, ProviderLogin>()
  return {
    bind: (login, session, until) => {
      last.set(session.sessionId, login)
      return good.bind(login, session, until)
    },
    logOut: async logout => (await good.logOut(logout)).filter(({ sessionId }) => {
      const login = last.get(sessionId)
      return login !== undefined && login.issuedAt <= logout.cutoff && login.sid === (logout.sid ?? login.sid) &&
        login.subject === (logout.subject ?? login.subject)
    })
  }
}

function lastTimeCounts (good: ProviderSessionIndex): Partial<ProviderSessionIndex> {
  const times = new Map<string, number>()
  return {
    bind: (login, session, until) => {
      times.set(session.sessionId, until)
      return good.bind(login, session, until)
    },
    logOut: async logout => (await good.logOut(logout)).filter(({ sessionId }) => Number(times.get(sessionId)) > Date.now())
  }
}

function firstTimeCounts (good: ProviderSessionIndex): Partial<ProviderSessionIndex> {
  const times = new Map<string, number>()
  return {
    bind: (login, session, until) => {
      times.set(session.sessionId, times.get(session.sessionId) ?? until)
      return good.bind(login, session, until)
    },
    logOut: async logout => (await good.logOut(logout)).filter(({ sessionId }) => Number(times.get(sessionId)) > Date.now())
  }
}

/** Keeps cutoffs itself, and gives the inner index logouts that it does not remember. */
function withOwnCutoffs (join: (known: ProviderLogout | undefined, given: ProviderLogout) => ProviderLogout): Break {
  return good => {
    const cutoffs = new Map<string, ProviderLogout>()
    return {
      bind: async (login, session, until) => {
        await good.bind(login, session, until)
        const isCovered = [...cutoffs.values()].some(({ issuer, sid, subject, cutoff, until }) => {
          return issuer === login.issuer && (sid ?? login.sid) === login.sid && (subject ?? login.subject) === login.subject &&
            cutoff >= login.issuedAt && until > Date.now()
        })
        return isCovered ? 'revoked' : 'live'
      },
      logOut: async logout => {
        const key = JSON.stringify([logout.issuer, logout.sid, logout.subject])
        const joint = join(cutoffs.get(key), logout)
        cutoffs.set(key, joint)
        return good.logOut({ ...joint, until: 0 })
      }
    }
  }
}

function lastCutoffCounts (good: ProviderSessionIndex): Partial<ProviderSessionIndex> {
  return withOwnCutoffs((_, given) => given)(good)
}

function cutoffsComeBack (good: ProviderSessionIndex): Partial<ProviderSessionIndex> {
  return withOwnCutoffs((known, given) => ({ ...given, cutoff: Math.max(given.cutoff, known?.cutoff ?? 0) }))(good)
}

/** The joined cutoff is remembered, but the list goes by the one that was given. */
function givenCutoffLists (good: ProviderSessionIndex): Partial<ProviderSessionIndex> {
  const issued = new Map<string, number>()
  return {
    bind: (login, session, until) => {
      issued.set(session.sessionId, login.issuedAt)
      return good.bind(login, session, until)
    },
    logOut: async logout => (await good.logOut(logout)).filter(({ sessionId }) => Number(issued.get(sessionId)) <= logout.cutoff)
  }
}

function checkingBeforeItRemembers (good: ProviderSessionIndex): Partial<ProviderSessionIndex> {
  return {
    bind: async (login, session, until) => {
      const verdict = await good.bind(login, session, 0)
      await nextTurn()
      await good.bind(login, session, until)
      return verdict
    }
  }
}

function listingBeforeItRemembers (good: ProviderSessionIndex): Partial<ProviderSessionIndex> {
  return {
    logOut: async logout => {
      const found = await good.logOut({ ...logout, until: 0 })
      await nextTurn()
      await good.logOut(logout)
      return found
    }
  }
}

function rememberingWhatItRefuses (good: ProviderSessionIndex): Partial<ProviderSessionIndex> {
  return {
    bind: async (login, session, until) => {
      if (!Number.isSafeInteger(until)) await good.bind(login, session, Date.now() + 3_600_000)
      return good.bind(login, session, until)
    }
  }
}

function numbersComeBack (good: ProviderSessionIndex): Partial<ProviderSessionIndex> {
  return listing(found => found.map(session => ({ ...session, sessionId: Number(session.sessionId) as never })))(good)
}

function keepingWhatItGets (good: ProviderSessionIndex): Partial<ProviderSessionIndex> {
  const given = new Map<string, BoundSession>()
  return {
    bind: (login, session, until) => {
      given.set(session.sessionId, session)
      return good.bind(login, session, until)
    },
    logOut: async logout => (await good.logOut(logout)).map(session => given.get(session.sessionId) ?? session)
  }
}

function givingWhatItKeeps (good: ProviderSessionIndex): Partial<ProviderSessionIndex> {
  let kept: readonly BoundSession[] | undefined
  return {
    logOut: async logout => {
      kept ??= await good.logOut(logout)
      return kept
    }
  }
}
