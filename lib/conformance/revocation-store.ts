import { deepEqual, equal, rejects } from 'node:assert/strict'
import { randomInt, randomUUID } from 'node:crypto'
import type { Awaitable } from '../awaitable.ts'
import type { Credential, Mark, RevocationStore, SubjectMark } from '../revocation-store.ts'
import { tokenDigest } from '../token-digest.ts'
import type { Rule } from '../internal/conformance/rule.ts'

export type { Rule } from '../internal/conformance/rule.ts'

/** Makes the store to be checked. It may hold other marks, and be the same one each time: the rules use ids of their own. */
export type MakeRevocationStore = () => Awaitable<RevocationStore>

const second = 1000
const hour = 3_600_000

/**
 * What every revocation store promises.
 *
 * @example
 * ```ts
 * import test from 'node:test'
 * import { revocationStoreRules } from 'fastify-logout/conformance/revocation-store'
 * import { memoryRevocationStore } from 'fastify-logout/revocation-stores/memory'
 *
 * for (const rule of revocationStoreRules) test(rule.name, () => rule.check(memoryRevocationStore))
 * ```
 */
export const revocationStoreRules: ReadonlyArray<Rule<MakeRevocationStore>> = [
  rule('a credential that no mark covers is live', async ({ store, id, now }) => {
    await judge(store, {}, 'live')
    await judge(store, { tokenId: id('t'), sessionId: id('s'), subject: id('u'), tenant: id('v'), issuer: id('i'), issuedAt: now }, 'live')
  }),

  rule('a token mark revokes this token, whatever else is true of it, and no other token', async ({ store, id, now, until }) => {
    await store.revoke({ tokenId: id('t'), until })
    await judge(store, { tokenId: id('t') }, 'revoked')
    await judge(store, { tokenId: id('t'), sessionId: id('s'), subject: id('u'), issuedAt: now + hour }, 'revoked')
    await judge(store, { tokenId: id('T') }, 'live')
  }),

  rule('a session mark revokes every token of this session and of no other session', async ({ store, id, now, until }) => {
    await store.revoke({ sessionId: id('s'), until })
    await judge(store, { sessionId: id('s') }, 'revoked')
    await judge(store, { tokenId: id('t'), sessionId: id('s'), subject: id('u'), issuedAt: now + hour }, 'revoked')
    await judge(store, { sessionId: id('S') }, 'live')
  }),

  rule('equal ids of a token, a session and a subject are not mixed up', async ({ store, id, now, until }) => {
    await store.revoke({ tokenId: id('t'), until }, { sessionId: id('s'), until }, { subject: id('u'), cutoff: now, until })
    await judge(store, { sessionId: id('t'), subject: id('t'), tenant: id('t'), issuer: id('t'), issuedAt: 0 }, 'live')
    await judge(store, { tokenId: id('s'), subject: id('s'), tenant: id('s'), issuer: id('s'), issuedAt: 0 }, 'live')
    await judge(store, { tokenId: id('u'), sessionId: id('u'), tenant: id('u'), issuer: id('u'), issuedAt: 0 }, 'live')
  }),

  rule('a cutoff revokes what was issued until its instant, and not what was issued later', async ({ store, id, now, until }) => {
    await store.revoke({ subject: id('u'), cutoff: now, until })
    await judge(store, { subject: id('u'), issuedAt: now - hour }, 'revoked')
    await judge(store, { subject: id('u'), issuedAt: now }, 'revoked')
    await judge(store, { subject: id('u'), issuedAt: now + 1 }, 'live')
    await judge(store, { subject: id('U'), issuedAt: now - hour }, 'live')
  }),

  rule('a token of the same second as the cutoff is revoked, one of the next second is live', async ({ store, id, now, until }) => {
    const wholeSecond = Math.floor(now / second) * second
    await store.revoke({ subject: id('u'), cutoff: wholeSecond + 400, until })
    await judge(store, { subject: id('u'), issuedAt: wholeSecond }, 'revoked')
    await judge(store, { subject: id('u'), issuedAt: wholeSecond + second }, 'live')
  }),

  rule('a credential that does not say when it was issued is revoked by every cutoff', async ({ store, id, now, until }) => {
    await store.revoke({ subject: id('u'), cutoff: now, until })
    await judge(store, { subject: id('u') }, 'revoked')
    await judge(store, { subject: id('u'), issuedAt: NaN }, 'revoked')
  }),

  rule('a token that was refreshed after the cutoff of its login stays revoked', async ({ store, id, now, until }) => {
    await store.revoke({ subject: id('u'), cutoff: now, until })
    await judge(store, { subject: id('u'), issuedAt: now + second, loggedInAt: now }, 'revoked')
    await judge(store, { subject: id('u'), loggedInAt: now }, 'revoked')
    await judge(store, { subject: id('u'), issuedAt: now - second, loggedInAt: now + 1 }, 'live')
    await judge(store, { subject: id('u'), issuedAt: now + second, loggedInAt: NaN }, 'revoked')
  }),

  rule('a cutoff with a tenant covers the subject in that tenant only, one without in every tenant', async ({ store, id, now, until }) => {
    await store.revoke({ subject: id('u'), tenant: id('a'), cutoff: now, until })
    await judge(store, { subject: id('u'), tenant: id('a'), issuedAt: now }, 'revoked')
    await judge(store, { subject: id('u'), tenant: id('b'), issuedAt: now }, 'live')
    await store.revoke({ subject: id('u'), cutoff: now - second, until })
    await judge(store, { subject: id('u'), tenant: id('b'), issuedAt: now - second }, 'revoked')
    await judge(store, { subject: id('u'), tenant: id('b'), issuedAt: now }, 'live')
    await judge(store, { subject: id('u'), tenant: id('a'), issuedAt: now }, 'revoked')
  }),

  rule('a mark with an issuer covers credentials of that issuer only, one without any credential', async ({ store, id, now, until }) => {
    const marks = (scope: { issuer?: string }): Mark[] => [
      { tokenId: id('t'), ...scope, until }, { sessionId: id('s'), ...scope, until }, { subject: id('u'), ...scope, cutoff: now, until }
    ]
    const credentials = (issuer: string): Credential[] => [
      { tokenId: id('t'), issuer }, { sessionId: id('s'), issuer }, { subject: id('u'), issuer, issuedAt: now }
    ]
    await store.revoke(...marks({ issuer: id('a') }))
    for (const credential of credentials(id('a'))) await judge(store, credential, 'revoked')
    for (const credential of credentials(id('b'))) await judge(store, credential, 'live')
    await store.revoke(...marks({ issuer: id('b') }))
    for (const credential of [...credentials(id('a')), ...credentials(id('b'))]) await judge(store, credential, 'revoked')
    for (const credential of credentials(id('c'))) await judge(store, credential, 'live')
    await store.revoke(...marks({}))
    for (const credential of credentials(id('c'))) await judge(store, credential, 'revoked')
  }),

  rule('a credential that does not name its issuer or tenant is covered by the marks of all of them', async ({ store, id, now, until }) => {
    await store.revoke({ tokenId: id('t'), issuer: id('a'), until }, { sessionId: id('s'), issuer: id('a'), until })
    await store.revoke({ subject: id('u'), issuer: id('a'), tenant: id('v'), cutoff: now, until })
    await judge(store, { tokenId: id('t') }, 'revoked')
    await judge(store, { sessionId: id('s') }, 'revoked')
    await judge(store, { subject: id('u'), issuedAt: now }, 'revoked')
    await judge(store, { subject: id('u'), issuer: id('a'), issuedAt: now }, 'revoked')
    await judge(store, { subject: id('u'), tenant: id('v'), issuedAt: now }, 'revoked')
    await judge(store, { subject: id('u'), tenant: id('v'), issuer: id('b'), issuedAt: now }, 'live')
    await judge(store, { tokenId: id('T') }, 'live')
  }),

  rule('"except" leaves exactly one session alone', async ({ store, id, now, until }) => {
    await store.revoke({ subject: id('u'), cutoff: now, except: id('own'), until })
    await judge(store, { subject: id('u'), sessionId: id('own'), issuedAt: now }, 'live')
    await judge(store, { subject: id('u'), sessionId: id('own') }, 'live')
    await judge(store, { subject: id('u'), sessionId: id('other'), issuedAt: now }, 'revoked')
    await judge(store, { subject: id('u'), issuedAt: now }, 'revoked')
  }),

  rule('"except" brings nothing back', async ({ store, id, now, until }) => {
    await store.revoke({ sessionId: id('own'), until }, { subject: id('u'), cutoff: now, except: id('own'), until })
    await judge(store, { subject: id('u'), sessionId: id('own'), issuedAt: now }, 'revoked')
  }),

  rule('cutoffs of one subject add up in any order: each revokes what it would revoke alone', async ({ store, id, now, until }) => {
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
      await judgeByModel(store, { subject, marks, now })
    }
  }),

  rule('two cutoffs of one instant that except different sessions leave no session alone', async ({ store, id, now, until }) => {
    await store.revoke({ subject: id('u'), cutoff: now, except: id('a'), until }, { subject: id('u'), cutoff: now, except: id('b'), until })
    await judge(store, { subject: id('u'), sessionId: id('a'), issuedAt: now }, 'revoked')
    await judge(store, { subject: id('u'), sessionId: id('b'), issuedAt: now }, 'revoked')
  }),

  rule('marks that are made at the same time are all kept', async ({ store, id, now, until }) => {
    const marks = Array.from({ length: 20 }, (_, index) => ({ cutoff: now - index * second, except: index === 0 ? 'a' : undefined, until }))
    await Promise.all(marks.map(async mark => store.revoke({ ...mark, subject: id('u') }, { tokenId: id(`t${mark.cutoff}`), until })))
    await judgeByModel(store, { subject: id('u'), marks, now })
    for (const { cutoff } of marks) await judge(store, { tokenId: id(`t${cutoff}`) }, 'revoked')
  }),

  rule('revoke resolves true if it revokes something more, not if a mark only lasts longer', async ({ store, id, until }) => {
    for (const name of ['tokenId', 'sessionId'] as const) {
      const mark = (text: string, scope = {}) => ({ [name]: id(text), ...scope, until }) as unknown as Mark
      equal(await store.revoke(mark('a')), true, 'the first')
      equal(await store.revoke(mark('a')), false, 'the same again')
      equal(await store.revoke({ ...mark('a'), until: until + hour }), false, 'the same for longer')
      equal(await store.revoke(mark('a'), mark('b')), true, 'one that is known and one that is not')
      equal(await store.revoke(mark('b'), mark('a')), false, 'both are known')
      equal(await store.revoke(mark('c', { issuer: id('i') })), true, 'the first of an issuer')
      equal(await store.revoke(mark('c', { issuer: id('i') })), false, 'the same again')
      equal(await store.revoke(mark('c', { issuer: id('j') })), true, 'the first of another issuer')
    }
    equal(await store.revoke(), false, 'no marks')
    equal(await store.revoke({ tokenId: id('ended'), until: 1 }), false, 'an ended mark')
  }),

  rule('revoke resolves true for a cutoff that reaches further than those of its subject', async ({ store, id, now, until }) => {
    const revoke = (cutoff: number, scope = {}) => store.revoke({ subject: id('u'), cutoff, until, ...scope })
    equal(await revoke(now - hour), true, 'the first')
    equal(await revoke(now - hour), false, 'the same again')
    equal(await revoke(now - hour, { until: until + hour }), false, 'the same for longer')
    equal(await revoke(now - hour, { except: id('a') }), false, 'less than that')
    equal(await revoke(now, { except: id('a') }), true, 'a later cutoff')
    equal(await revoke(now - second, { except: id('a') }), false, 'an earlier one')
    equal(await revoke(now - second), true, 'one that does not leave the session alone')
    equal(await revoke(now, { except: id('b') }), true, 'one that leaves another session alone')
    equal(await revoke(now, { except: id('c') }), false, 'one that the two others cover together')
    equal(await revoke(now), false, 'the same without a session that is left alone')
    equal(await revoke(now, { tenant: id('v') }), true, 'the first of a tenant')
    equal(await revoke(now, { tenant: id('v') }), false, 'the same again')
    equal(await revoke(now, { tenant: id('v'), issuer: id('i') }), true, 'the first of an issuer')
  }),

  rule('of many concurrent calls with the same token mark or session mark, exactly one resolves true', async ({ store, id, until }) => {
    for (const mark of [{ tokenId: id('t') }, { sessionId: id('s') }, { sessionId: id('s'), issuer: id('i') }]) {
      const answers = await Promise.all(Array.from({ length: 30 }, async (_, index) => store.revoke({ ...mark, until: until + index })))
      deepEqual(answers.filter(Boolean), [true])
      equal(await store.revoke({ ...mark, until: until + hour }), false)
    }
  }),

  rule('revokeOnce resolves true if no mark covered the credential before, and revokes it', async ({ store, id, now, until }) => {
    const credential = (name: string) => ({
      tokenId: id(`t${name}`), sessionId: id(`s${name}`), subject: id(`u${name}`), tenant: id('v'), issuer: id('i'), issuedAt: now
    })
    const marksOf = (name: string): Mark[] => [{ tokenId: id(`t${name}`), until }, { sessionId: id(`s${name}`), issuer: id('i'), until }]
    equal(await store.revokeOnce(credential('a'), ...marksOf('a')), true)
    await judge(store, { tokenId: id('ta') }, 'revoked')
    await judge(store, { sessionId: id('sa') }, 'revoked')
    equal(await store.revokeOnce(credential('a'), ...marksOf('a')), false, 'the same again')

    const covering: Array<[Mark, boolean, string]> = [
      [{ subject: id('ub'), cutoff: now, until }, false, 'a cutoff'],
      [{ subject: id('uc'), cutoff: now - 1, until }, true, 'a cutoff before it was issued'],
      [{ subject: id('ud'), cutoff: now, except: id('sd'), until }, true, 'a cutoff that leaves its session alone'],
      [{ subject: id('ue'), cutoff: now, except: id('sd'), until }, false, 'a cutoff that leaves another session alone'],
      [{ subject: id('uf'), cutoff: now, tenant: id('v'), issuer: id('i'), until }, false, 'a cutoff of its tenant and issuer'],
      [{ subject: id('ug'), cutoff: now, tenant: id('w'), until }, true, 'a cutoff of another tenant'],
      [{ subject: id('uh'), cutoff: now, issuer: id('j'), until }, true, 'a cutoff of another issuer'],
      [{ subject: id('uk'), cutoff: now, until: now - 2 * second }, true, 'a cutoff that has ended'],
      [{ tokenId: id('tl'), issuer: id('i'), until }, false, 'a mark of its token'],
      [{ sessionId: id('sm'), until }, false, 'a mark of its session for every issuer'],
      [{ sessionId: id('sn'), issuer: id('j'), until }, true, 'a mark of its session of another issuer']
    ]
    for (const [mark, expected, what] of covering) {
      const name = ('subject' in mark ? mark.subject : 'tokenId' in mark ? mark.tokenId : mark.sessionId).slice(-1)
      await store.revoke(mark)
      equal(await store.revokeOnce(credential(name), ...marksOf(name)), expected, what)
      await judge(store, { tokenId: id(`t${name}`) }, 'revoked')
      await judge(store, { sessionId: id(`s${name}`) }, 'revoked')
    }
  }),

  rule('revokeOnce resolves false if its marks add nothing', async ({ store, id, now, until }) => {
    equal(await store.revokeOnce({ tokenId: id('t') }), false, 'no marks')
    equal(await store.revokeOnce({ tokenId: id('t') }, { tokenId: id('t'), until: now - 2 * second }), false, 'an ended mark')
    await judge(store, { tokenId: id('t') }, 'live')
    await store.revoke({ tokenId: id('t'), until })
    equal(await store.revokeOnce({}, { tokenId: id('t'), until }), false, 'a mark that is known')
    equal(await store.revokeOnce({}, { tokenId: id('x'), until }), true, 'a mark that is not')
    await rejects(async () => store.revokeOnce({}, { tokenId: id('y'), until }, { tokenId: '', until }), TypeError)
    await judge(store, { tokenId: id('y') }, 'live')
  }),

  rule('revokeOnce takes more marks than fit into one statement or script', async ({ store, id, now, until }) => {
    const many = (name: string) => Array.from({ length: 600 }, (_, index): Mark => ({ tokenId: id(`${name}${index}`), until }))
    await store.revoke(...many('a').slice(0, 599))
    equal(await store.revokeOnce({ subject: id('u'), issuedAt: now }, ...many('a')), true, 'only the last one is new')
    equal(await store.revokeOnce({ tokenId: id('b0'), subject: id('u'), issuedAt: now }, ...many('b')), true)
    equal(await store.revokeOnce({ tokenId: id('b0'), subject: id('u'), issuedAt: now }, ...many('c')), false)
    for (const name of ['a599', 'b599', 'c0', 'c599']) await judge(store, { tokenId: id(name) }, 'revoked')
  }),

  rule('of many concurrent calls of revokeOnce with the same mark, exactly one resolves true', async ({ store, id, now, until }) => {
    for (const ids of [{ tokenId: id('t') }, { sessionId: id('s') }, { sessionId: id('s2'), issuer: id('i') }]) {
      const credential = { ...ids, subject: id('u'), issuedAt: now }
      const answers = await Promise.all(Array.from({ length: 50 }, async (_, index) =>
        store.revokeOnce(credential, { ...ids, until: until + index })))
      deepEqual(answers.filter(answer => answer !== false), [true])
    }
  }),

  rule('concurrent calls of revokeOnce answer for their own credentials', async ({ store, id, now, until }) => {
    await store.revoke({ sessionId: id('known'), until }, { subject: id('bob'), cutoff: now, until })
    const rows = [['a', 'alice', true], ['known', 'alice', false], ['b', 'bob', false], ['c', 'carol', true], ['b', 'bob', false]] as const
    const answers = await Promise.all(rows.map(async ([sessionId, subject]) =>
      store.revokeOnce({ sessionId: id(sessionId), subject: id(subject), issuedAt: now }, { sessionId: id(sessionId), until })))
    deepEqual(answers, rows.map(([, , expected]) => expected))
  }),

  rule('a mark lasts until its latest instant, also when it is repeated with an earlier one', async ({ store, id, now, until }) => {
    await store.revoke({ tokenId: id('t'), until }, { sessionId: id('s'), until }, { subject: id('u'), cutoff: now, until })
    const past = { until: now - 1 }
    await store.revoke({ tokenId: id('t'), ...past }, { sessionId: id('s'), ...past }, { subject: id('u'), cutoff: now, ...past })
    await judge(store, { tokenId: id('t') }, 'revoked')
    await judge(store, { sessionId: id('s') }, 'revoked')
    await judge(store, { subject: id('u'), issuedAt: now }, 'revoked')
  }),

  rule('a mark whose end has passed does nothing', async ({ store, id, now }) => {
    const past = { until: now - 2 * second }
    await store.revoke({ tokenId: id('t'), ...past }, { sessionId: id('s'), ...past }, { subject: id('u'), cutoff: now, ...past })
    await judge(store, { tokenId: id('t'), sessionId: id('s'), subject: id('u'), issuedAt: 0 }, 'live')
  }),

  rule('ids may be long and of any characters', async ({ store, id, now, until }) => {
    const odd = ['ü', '"', '\'', '\\', '{}', '%', '*', ':', '#', ' ', '\n', '\u0000', '😀', 'x'.repeat(5000)].map(text => id(text))
    await store.revoke(...odd.flatMap<Mark>(text => [
      { tokenId: text, issuer: text, until },
      { sessionId: text, issuer: text, until },
      { subject: text, tenant: text, issuer: text, cutoff: now, except: `${text}!`, until }
    ]))
    for (const text of odd) {
      await judge(store, { tokenId: text, issuer: text }, 'revoked')
      await judge(store, { sessionId: text, issuer: text }, 'revoked')
      await judge(store, { subject: text, tenant: text, issuer: text, issuedAt: now }, 'revoked')
      await judge(store, { subject: text, tenant: text, issuer: text, sessionId: `${text}!`, issuedAt: now }, 'live')
      const other = `${text}?`
      await judge(store, { tokenId: other, sessionId: other, subject: other, tenant: text, issuer: text, issuedAt: now }, 'live')
      await judge(store, { tokenId: text, sessionId: text, subject: text, tenant: text, issuer: other, issuedAt: now }, 'live')
    }
  }),

  rule('no id can be spelled so that it is taken for another one', async ({ store, id, now, until }) => {
    const long = id('x'.repeat(300))
    const spelled = `#${tokenDigest(long)}`
    await store.revoke({ tokenId: long, until }, { sessionId: long, until }, { subject: long, cutoff: now, until })
    await judge(store, { tokenId: spelled, sessionId: spelled, subject: spelled, issuedAt: 0 }, 'live')
    const other = id('y'.repeat(300))
    const spelledOther = `#${tokenDigest(other)}`
    await store.revoke({ tokenId: spelledOther, until }, { sessionId: spelledOther, until }, { subject: spelledOther, cutoff: now, until })
    await judge(store, { tokenId: other, sessionId: other, subject: other, issuedAt: 0 }, 'live')
    await judge(store, { tokenId: spelledOther }, 'revoked')
    await judge(store, { sessionId: spelledOther }, 'revoked')
    await judge(store, { subject: spelledOther }, 'revoked')
  }),

  rule('a mark that another store gave out with digests covers the ids of these digests', async ({ store, id, now, until }) => {
    const long = id('x'.repeat(300))
    const digest = `#${tokenDigest(long)}`
    const scope = { issuer: digest, until, digested: true } as const
    equal(await store.revoke({ tokenId: digest, ...scope }, { sessionId: digest, ...scope }), true)
    equal(await store.revoke({ subject: digest, tenant: digest, except: digest, cutoff: now, ...scope }), true)
    await judge(store, { tokenId: long, issuer: long }, 'revoked')
    await judge(store, { sessionId: long, issuer: long }, 'revoked')
    await judge(store, { subject: long, tenant: long, issuer: long, issuedAt: now }, 'revoked')
    await judge(store, { subject: long, tenant: long, issuer: long, sessionId: `${long}!`, issuedAt: now }, 'revoked')
    await judge(store, { subject: long, tenant: long, issuer: 'other', issuedAt: now }, 'live')
    await judge(store, { subject: id('u'), sessionId: id('s'), tokenId: id('t') }, 'live')
    equal(await store.revoke({ tokenId: long, issuer: long, until }), false)
  }),

  rule('the number that a host has for an id stands for its text', async ({ store, now, until }) => {
    const number = randomInt(2 ** 47)
    const asText = number as unknown as string
    await store.revoke({ tokenId: asText, until }, { sessionId: `${number}`, until })
    await store.revoke({ subject: asText, tenant: asText, cutoff: now, until })
    await judge(store, { tokenId: `${number}` }, 'revoked')
    await judge(store, { sessionId: asText }, 'revoked')
    await judge(store, { subject: `${number}`, tenant: asText, issuedAt: now }, 'revoked')
    await judge(store, { subject: asText, tenant: `${number}0`, issuedAt: now }, 'live')
  }),

  rule('a subject and a tenant are not mixed up with a longer subject', async ({ store, id, now, until }) => {
    await store.revoke({ subject: id('b:c'), tenant: id('a'), cutoff: now, until })
    await judge(store, { subject: 'c', tenant: `${id('a')}:${id('b')}`, issuedAt: now }, 'live')
    await judge(store, { subject: `${id('a')}:${id('b:c')}`, issuedAt: now }, 'live')
  }),

  rule('an empty list of marks is accepted', async ({ store }) => {
    await store.revoke()
  }),

  rule('twenty thousand marks fit into one call', async ({ store, id, now, until }) => {
    const names = Array.from({ length: 10_000 }, (_, index) => id(`${index}`))
    await store.revoke(...names.flatMap<Mark>(name => [{ sessionId: name, until }, { subject: name, cutoff: now, until }]))
    for (const name of [names[0], names[5000], names[9999]]) {
      await judge(store, { sessionId: name }, 'revoked')
      await judge(store, { subject: name, issuedAt: now }, 'revoked')
    }
    await judge(store, { sessionId: id('10000'), subject: id('10000') }, 'live')
  }),

  rule('a malformed mark is refused with a TypeError, and its neighbours are not made', async ({ store, id, now, until }) => {
    const malformed = [
      { tokenId: id('t'), until: NaN }, { tokenId: '', until }, { until }, { tokenId: id('t'), issuer: '', until },
      { sessionId: {}, until }, { subject: id('u'), cutoff: NaN, until }, { subject: id('u'), until },
      { subject: id('u'), tenant: '', cutoff: now, until }, { subject: id('u'), except: '', cutoff: now, until },
      { tokenId: '#t', until, digested: true }
    ] as unknown as SubjectMark[]
    for (const mark of malformed) await rejects(async () => store.revoke({ sessionId: id('s'), until }, mark), TypeError)
    await judge(store, { tokenId: id('t'), sessionId: id('s'), subject: id('u'), issuedAt: now }, 'live')
  }),

  rule('of many who claim one key exactly one is the first', async ({ store, id, until }) => {
    const claims = await Promise.all(Array.from({ length: 20 }, async () => store.claimOnce(id('k'), until)))
    deepEqual(claims.filter(Boolean), [true])
    equal(await store.claimOnce(id('k'), until), false)
    equal(await store.claimOnce(id('K'), until), true)
  }),

  rule('a claim that has ended can be made again, and a claim is not a mark', async ({ store, id, now, until }) => {
    equal(await store.claimOnce(id('k'), now - 2 * second), true)
    equal(await store.claimOnce(id('k'), until), true)
    equal(await store.claimOnce(id('k'), until), false)
    await judge(store, { tokenId: id('k'), sessionId: id('k'), subject: id('k') }, 'live')
  }),

  rule('a claim until a time that is not whole works, one until no instant is refused with a TypeError', async ({ store, id, until }) => {
    equal(await store.claimOnce(id('k'), until + 0.5), true)
    equal(await store.claimOnce(id('k'), until), false)
    for (const time of [NaN, Infinity, undefined, '2030-01-01'] as number[]) {
      await rejects(async () => store.claimOnce(id('x'), time), TypeError)
    }
    equal(await store.claimOnce(id('x'), until), true)
  })
]

type Cutoff = Omit<SubjectMark, 'subject'>

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

async function judge (store: RevocationStore, credential: Credential, expected: string): Promise<void> {
  equal(await store.check(credential), expected, `${expected} was expected of ${JSON.stringify(credential)}`)
}

interface Marked {
  readonly subject: string
  readonly marks: readonly Cutoff[]
  readonly now: number
}

/** Revoked is what one of the marks revokes alone. */
async function judgeByModel (store: RevocationStore, { subject, marks, now }: Marked): Promise<void> {
  for (const sessionId of ['a', 'b', 'c', undefined]) {
    for (const age of [0, 5, 10, 15, 20, 25, 30, 35]) {
      const issuedAt = now - age * second
      const revoked = marks.some(mark => issuedAt <= mark.cutoff && (mark.except === undefined || mark.except !== sessionId))
      await judge(store, { subject, sessionId, issuedAt }, revoked ? 'revoked' : 'live')
    }
  }
}

function permutations<T> (items: readonly T[]): T[][] {
  if (items.length === 0) return [[]]
  return items.flatMap((item, index) => permutations(items.filter((_, other) => other !== index)).map(rest => [item, ...rest]))
}
