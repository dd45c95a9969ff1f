import { deepEqual, equal, rejects } from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { Awaitable } from '../awaitable.ts'
import type { Credential, Mark, RevocationStore, SubjectMark } from '../revocation-store.ts'
import type { Rule } from '../internal/conformance/rule.ts'

export type { Rule } from '../internal/conformance/rule.ts'

/** Gives the store to be checked. It may hold other marks and be the same each time: the rules use ids of their own. */
export type MakeRevocationStore = () => Awaitable<RevocationStore>

const second = 1000
const hour = 3_600_000

/** What every revocation store promises. */
export const revocationStoreRules: ReadonlyArray<Rule<MakeRevocationStore>> = [
  rule('what no mark covers is live', async ({ store, id, now }) => {
    await judge(store, {}, 'live')
    await judge(store, { tokenId: id('t'), sessionId: id('s'), subject: id('u'), tenant: id('v'), issuedAt: now }, 'live')
  }),

  rule('a token mark kills this token, whatever else is true of it, and no other', async ({ store, id, now, until }) => {
    await store.revoke({ tokenId: id('t'), until })
    await judge(store, { tokenId: id('t') }, 'revoked')
    await judge(store, { tokenId: id('t'), sessionId: id('s'), subject: id('u'), issuedAt: now + hour }, 'revoked')
    await judge(store, { tokenId: id('T') }, 'live')
  }),

  rule('a session mark kills every token of this session and no other', async ({ store, id, now, until }) => {
    await store.revoke({ sessionId: id('s'), until })
    await judge(store, { sessionId: id('s') }, 'revoked')
    await judge(store, { tokenId: id('t'), sessionId: id('s'), subject: id('u'), issuedAt: now + hour }, 'revoked')
    await judge(store, { sessionId: id('S') }, 'live')
  }),

  rule('the ids of tokens, sessions and subjects are different things', async ({ store, id, now, until }) => {
    await store.revoke({ tokenId: id('t'), until }, { sessionId: id('s'), until }, { subject: id('u'), cutoff: now, until })
    await judge(store, { sessionId: id('t'), subject: id('t'), tenant: id('t'), issuedAt: 0 }, 'live')
    await judge(store, { tokenId: id('s'), subject: id('s'), tenant: id('s'), issuedAt: 0 }, 'live')
    await judge(store, { tokenId: id('u'), sessionId: id('u'), issuedAt: 0 }, 'live')
  }),

  rule('a cutoff kills what was issued before it and at its instant, and not what was issued later', async ({ store, id, now, until }) => {
    await store.revoke({ subject: id('u'), cutoff: now, until })
    await judge(store, { subject: id('u'), issuedAt: now - hour }, 'revoked')
    await judge(store, { subject: id('u'), issuedAt: now }, 'revoked')
    await judge(store, { subject: id('u'), issuedAt: now + 1 }, 'live')
    await judge(store, { subject: id('U'), issuedAt: now - hour }, 'live')
  }),

  rule('a token of the same second as the cutoff is dead, one of the next second is live', async ({ store, id, now, until }) => {
    const wholeSecond = Math.floor(now / second) * second
    await store.revoke({ subject: id('u'), cutoff: wholeSecond + 400, until })
    await judge(store, { subject: id('u'), issuedAt: wholeSecond }, 'revoked')
    await judge(store, { subject: id('u'), issuedAt: wholeSecond + second }, 'live')
  }),

  rule('a credential that does not say when it was issued is dead by every cutoff', async ({ store, id, now, until }) => {
    await store.revoke({ subject: id('u'), cutoff: now, until })
    await judge(store, { subject: id('u') }, 'revoked')
  }),

  rule('a cutoff with a tenant covers the subject in that tenant only, one without in every tenant', async ({ store, id, now, until }) => {
    await store.revoke({ subject: id('u'), tenant: id('a'), cutoff: now, until })
    await judge(store, { subject: id('u'), tenant: id('a'), issuedAt: now }, 'revoked')
    await judge(store, { subject: id('u'), tenant: id('b'), issuedAt: now }, 'live')
    await judge(store, { subject: id('u'), issuedAt: now }, 'live')
    await store.revoke({ subject: id('u'), cutoff: now - second, until })
    await judge(store, { subject: id('u'), tenant: id('b'), issuedAt: now - second }, 'revoked')
    await judge(store, { subject: id('u'), tenant: id('b'), issuedAt: now }, 'live')
    await judge(store, { subject: id('u'), tenant: id('a'), issuedAt: now }, 'revoked')
  }),

  rule('"except" keeps exactly one session', async ({ store, id, now, until }) => {
    await store.revoke({ subject: id('u'), cutoff: now, except: id('kept'), until })
    await judge(store, { subject: id('u'), sessionId: id('kept'), issuedAt: now }, 'live')
    await judge(store, { subject: id('u'), sessionId: id('kept') }, 'live')
    await judge(store, { subject: id('u'), sessionId: id('other'), issuedAt: now }, 'revoked')
    await judge(store, { subject: id('u'), issuedAt: now }, 'revoked')
  }),

  rule('"except" brings nothing back', async ({ store, id, now, until }) => {
    await store.revoke({ sessionId: id('kept'), until }, { subject: id('u'), cutoff: now, except: id('kept'), until })
    await judge(store, { subject: id('u'), sessionId: id('kept'), issuedAt: now }, 'revoked')
  }),

  rule('cutoffs of one subject join, in any order and repetition: each kills what it would kill alone', async ({ store, id, now, until }) => {
    const marks = [
      { cutoff: now - 30 * second, until },
      { cutoff: now - 20 * second, except: 'b', until },
      { cutoff: now - 10 * second, except: 'a', until: until + hour },
      { cutoff: now - 10 * second, except: 'a', until }
    ]
    for (const [index, order] of permutations(marks).entries()) {
      const subject = id(`u${index}`)
      const joined = [...order, ...order.slice(0, 2)].map(mark => ({ ...mark, subject }))
      for (const mark of joined) await store.revoke(mark)
      await judgeByModel(store, subject, marks, now)
    }
  }),

  rule('two cutoffs of one instant that spare different sessions spare none', async ({ store, id, now, until }) => {
    await store.revoke({ subject: id('u'), cutoff: now, except: id('a'), until }, { subject: id('u'), cutoff: now, except: id('b'), until })
    await judge(store, { subject: id('u'), sessionId: id('a'), issuedAt: now }, 'revoked')
    await judge(store, { subject: id('u'), sessionId: id('b'), issuedAt: now }, 'revoked')
  }),

  rule('marks that are made at the same time are all kept', async ({ store, id, now, until }) => {
    const marks = Array.from({ length: 20 }, (_, index) => ({ cutoff: now - index * second, except: index === 0 ? 'a' : undefined, until }))
    await Promise.all(marks.map(async mark => { await store.revoke({ ...mark, subject: id('u') }, { tokenId: id(`t${mark.cutoff}`), until }) }))
    await judgeByModel(store, id('u'), marks, now)
    for (const { cutoff } of marks) await judge(store, { tokenId: id(`t${cutoff}`) }, 'revoked')
  }),

  rule('a mark lasts until its latest instant, also when it is repeated with an earlier one', async ({ store, id, now, until }) => {
    await store.revoke({ tokenId: id('t'), until }, { sessionId: id('s'), until }, { subject: id('u'), cutoff: now, until })
    await store.revoke({ tokenId: id('t'), until: now - 1 }, { sessionId: id('s'), until: now - 1 }, { subject: id('u'), cutoff: now, until: now - 1 })
    await judge(store, { tokenId: id('t') }, 'revoked')
    await judge(store, { sessionId: id('s') }, 'revoked')
    await judge(store, { subject: id('u'), issuedAt: now }, 'revoked')
  }),

  rule('a mark whose end has passed does nothing', async ({ store, id, now }) => {
    const past = now - 2 * second
    await store.revoke({ tokenId: id('t'), until: past }, { sessionId: id('s'), until: past }, { subject: id('u'), cutoff: now, until: past })
    await judge(store, { tokenId: id('t'), sessionId: id('s'), subject: id('u'), issuedAt: 0 }, 'live')
  }),

  rule('ids may be long and of any characters', async ({ store, id, now, until }) => {
    const odd = ['ü', '"', '\'', '\\', '{}', '%', '*', ':', '#', ' ', '\n', '\u0000', '😀', 'x'.repeat(5000)].map(text => id(text))
    await store.revoke(...odd.flatMap<Mark>(text => [{ tokenId: text, until }, { sessionId: text, until }, { subject: text, tenant: text, cutoff: now, except: `${text}!`, until }]))
    for (const text of odd) {
      await judge(store, { tokenId: text }, 'revoked')
      await judge(store, { sessionId: text }, 'revoked')
      await judge(store, { subject: text, tenant: text, issuedAt: now }, 'revoked')
      await judge(store, { subject: text, tenant: text, sessionId: `${text}!`, issuedAt: now }, 'live')
      await judge(store, { tokenId: `${text}?`, sessionId: `${text}?`, subject: `${text}?`, tenant: text, issuedAt: now }, 'live')
    }
  }),

  rule('a subject and a tenant are not mixed up with a longer subject', async ({ store, id, now, until }) => {
    await store.revoke({ subject: id('b:c'), tenant: id('a'), cutoff: now, until })
    await judge(store, { subject: 'c', tenant: `${id('a')}:${id('b')}`, issuedAt: now }, 'live')
    await judge(store, { subject: `${id('a')}:${id('b:c')}`, issuedAt: now }, 'live')
  }),

  rule('an empty list of marks is no error', async ({ store }) => {
    await store.revoke()
  }),

  rule('a mark that is not well-formed is refused with a TypeError', async ({ store, id, now, until }) => {
    const broken = [{ tokenId: id('t'), until: NaN }, { tokenId: '', until }, { subject: id('u'), cutoff: NaN, until }, { subject: id('u'), until }] as SubjectMark[]
    for (const mark of broken) await rejects(async () => store.revoke(mark), TypeError)
    await judge(store, { tokenId: id('t'), subject: id('u'), issuedAt: now }, 'live')
  }),

  rule('of many who claim one key exactly one is the first', async ({ store, id, until }) => {
    const claims = await Promise.all(Array.from({ length: 20 }, async () => store.claimOnce(id('k'), until)))
    deepEqual(claims.filter(Boolean), [true])
    equal(await store.claimOnce(id('k'), until), false)
    equal(await store.claimOnce(id('K'), until), true)
  }),

  rule('a claim that has ended can be made again, and a claim is no mark', async ({ store, id, now, until }) => {
    equal(await store.claimOnce(id('k'), now - 2 * second), true)
    equal(await store.claimOnce(id('k'), until), true)
    equal(await store.claimOnce(id('k'), until), false)
    await judge(store, { tokenId: id('k'), sessionId: id('k'), subject: id('k') }, 'live')
  })
]

interface Bench {
  readonly store: RevocationStore
  readonly id: (name: string) => string
  readonly now: number
  readonly until: number
}

function rule (name: string, check: (bench: Bench) => Promise<void>): Rule<MakeRevocationStore> {
  return {
    name,
    async check (make) {
      const run = randomUUID()
      const now = Date.now()
      await check({ store: await make(), id: text => `${run}/${text}`, now, until: now + hour })
    }
  }
}

async function judge (store: RevocationStore, facts: Credential, expected: string): Promise<void> {
  const { tokenId, sessionId, subject, ...rest } = facts
  equal(await store.check(facts), expected, `${expected} was expected of ${JSON.stringify({ tokenId, sessionId, subject, ...rest })}`)
}

/** Dead is what one of the marks kills alone. */
async function judgeByModel (store: RevocationStore, subject: string, marks: ReadonlyArray<Omit<SubjectMark, 'subject'>>, now: number): Promise<void> {
  for (const sessionId of ['a', 'b', 'c', undefined]) {
    for (const age of [0, 5, 10, 15, 20, 25, 30, 35]) {
      const issuedAt = now - age * second
      const dead = marks.some(mark => issuedAt <= mark.cutoff && (mark.except === undefined || mark.except !== sessionId))
      await judge(store, { subject, sessionId, issuedAt }, dead ? 'revoked' : 'live')
    }
  }
}

function permutations<T> (items: readonly T[]): T[][] {
  if (items.length === 0) return [[]]
  return items.flatMap((item, index) => permutations(items.filter((_, other) => other !== index)).map(rest => [item, ...rest]))
}
