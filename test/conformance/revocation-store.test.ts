import { AssertionError } from 'node:assert'
import t from 'tap'
import { revocationStoreRules } from '../../lib/conformance/revocation-store.ts'
import type { Credential, Mark, RevocationStore, SubjectMark } from '../../lib/revocation-store.ts'
import { memoryRevocationStore } from '../../lib/revocation-stores/memory.ts'

type Break = (good: RevocationStore) => Partial<RevocationStore>

const marks = (change: (mark: Mark) => Mark | undefined): Break => good => ({
  revoke: (...added) => good.revoke(...added.map(change).filter(mark => mark !== undefined))
})
const facts = (change: (facts: Credential) => Credential): Break => good => ({ check: facts => good.check(change(facts)) })
const subjects = (change: (mark: SubjectMark) => SubjectMark | undefined) => marks(mark => 'subject' in mark ? change(mark) : mark)

const broken: Record<string, Break> = {
  'what no mark covers is live': () => ({ check: () => 'revoked' }),
  'a token mark kills this token, whatever else is true of it, and no other': marks(mark => 'tokenId' in mark ? undefined : mark),
  'a session mark kills every token of this session and no other': facts(facts => facts.tokenId === undefined ? facts : { ...facts, sessionId: undefined }),
  'the ids of tokens, sessions and subjects are different things': good => ({
    check: async ({ tokenId, sessionId, ...rest }) => await good.check({ tokenId, sessionId, ...rest }) === 'live' ? good.check({ tokenId: sessionId, sessionId: tokenId, ...rest }) : 'revoked'
  }),
  'a cutoff kills what was issued before it and at its instant, and not what was issued later': subjects(mark => ({ ...mark, cutoff: mark.cutoff - 1 })),
  'a token of the same second as the cutoff is dead, one of the next second is live': subjects(mark => ({ ...mark, cutoff: Math.ceil(mark.cutoff / 1000) * 1000 })),
  'a credential that does not say when it was issued is dead by every cutoff': facts(facts => ({ issuedAt: Infinity, ...facts })),
  'a cutoff with a tenant covers the subject in that tenant only, one without in every tenant': subjects(({ tenant: _, ...mark }) => mark),
  '"except" keeps exactly one session': subjects(({ except: _, ...mark }) => mark),
  '"except" brings nothing back': good => {
    const spared = new Set<string>()
    return {
      revoke (...added) {
        for (const mark of added) if ('except' in mark && mark.except !== undefined) spared.add(mark.except)
        return good.revoke(...added)
      },
      check: facts => facts.sessionId !== undefined && spared.has(facts.sessionId) ? 'live' : good.check(facts)
    }
  },
  'cutoffs of one subject join, in any order and repetition: each kills what it would kill alone': latestCutoffOnly(false),
  'two cutoffs of one instant that spare different sessions spare none': latestCutoffOnly(true),
  'marks that are made at the same time are all kept': good => {
    let busy = false
    return {
      async revoke (...added) {
        if (busy && added.some(mark => 'subject' in mark)) return
        busy = true
        await new Promise(resolve => setImmediate(resolve))
        await good.revoke(...added)
        busy = false
      }
    }
  },
  'a mark lasts until its latest instant, also when it is repeated with an earlier one': good => {
    const ended = new Set<string>()
    return {
      revoke (...added) {
        for (const mark of added) if ('tokenId' in mark && mark.until <= Date.now()) ended.add(mark.tokenId)
        return good.revoke(...added)
      },
      check: facts => facts.tokenId !== undefined && ended.has(facts.tokenId) ? 'live' : good.check(facts)
    }
  },
  'a mark whose end has passed does nothing': marks(mark => ({ ...mark, until: mark.until + 10_000 })),
  'ids may be long and of any characters': facts(facts => ({ ...facts, ...(facts.tokenId !== undefined && { tokenId: facts.tokenId.slice(0, 255) }) })),
  'a subject and a tenant are not mixed up with a longer subject': good => ({
    revoke: (...added) => good.revoke(...added.map(mark => 'subject' in mark ? { ...mark, tenant: undefined, subject: `${mark.tenant ?? ''}:${mark.subject}` } : mark)),
    check: facts => good.check({ ...facts, ...(facts.subject !== undefined && { subject: `${facts.tenant ?? ''}:${facts.subject}` }) })
  }),
  'an empty list of marks is no error': good => ({
    revoke (...added) {
      if (added.length === 0) throw new AssertionError({ message: 'nothing to revoke' })
      return good.revoke(...added)
    }
  }),
  'a mark that is not well-formed is refused with a TypeError': marks(mark => Number.isSafeInteger(mark.until) && !('subject' in mark && !Number.isSafeInteger(mark.cutoff)) ? mark : undefined),
  'of many who claim one key exactly one is the first': () => ({ claimOnce: () => true }),
  'a claim that has ended can be made again, and a claim is no mark': good => {
    const claimed = new Set<string>()
    return {
      claimOnce (key) {
        const first = !claimed.has(key)
        claimed.add(key)
        return first
      },
      check: good.check
    }
  }
}

/** What a naive store keeps of a subject: the latest cutoff with its exception. */
function latestCutoffOnly (firstWins: boolean): Break {
  return good => {
    const latest = new Map<string, SubjectMark>()
    return {
      revoke (...added) {
        for (const mark of added) {
          if (!('subject' in mark)) continue
          const known = latest.get(mark.subject)
          if (known === undefined || known.cutoff < mark.cutoff || (!firstWins && known.cutoff === mark.cutoff)) latest.set(mark.subject, mark)
        }
        return good.revoke(...added.filter(mark => !('subject' in mark)))
      },
      check (facts) {
        const mark = latest.get(facts.subject ?? '')
        const dead = mark !== undefined && (facts.issuedAt ?? 0) <= mark.cutoff && (mark.except === undefined || mark.except !== facts.sessionId)
        return dead ? 'revoked' : good.check(facts)
      }
    }
  }
}

t.test('each rule catches a store that breaks its promise', async t => {
  for (const rule of revocationStoreRules) {
    const breakage = broken[rule.name]
    if (breakage === undefined) {
      t.fail(`no broken store for: ${rule.name}`)
      continue
    }
    await t.rejects(rule.check(() => {
      const good = memoryRevocationStore()
      return { ...good, ...breakage(good) }
    }), AssertionError, rule.name)
  }
})
