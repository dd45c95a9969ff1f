import { AssertionError } from 'node:assert'
import t from 'tap'
import { revocationStoreRules } from '../../lib/conformance/revocation-store.ts'
import type { Credential, Mark, RevocationStore, SubjectMark } from '../../lib/revocation-store.ts'
import { memoryRevocationStore } from '../../lib/revocation-stores/memory.ts'
import { tokenDigest } from '../../lib/token-digest.ts'

type Break = (good: RevocationStore) => Partial<RevocationStore>

const marks = (change: (mark: Mark) => Mark | undefined): Break => good => ({
  revoke: (...added) => good.revoke(...added.map(change).filter(mark => mark !== undefined))
})
const credentials = (change: (credential: Credential) => Credential): Break => good => ({
  check: credential => good.check(change(credential))
})
const subjects = (change: (mark: SubjectMark) => SubjectMark | undefined) => marks(mark => 'subject' in mark ? change(mark) : mark)
const answers = (change: (news: boolean, marks: readonly Mark[]) => boolean): Break => good => ({
  revoke: async (...added) => change(await good.revoke(...added), added)
})

/** What a store makes of the verdict before, and of whether the marks revoke something more. */
const once = (change: (wasLive: boolean, news: boolean) => boolean): Break => good => ({
  revokeOnce: async (credential, ...added) => {
    const wasLive = await good.check(credential) === 'live'
    return change(wasLive, await good.revoke(...added))
  }
})

const broken: Record<string, Break | readonly Break[]> = {
  'a credential that no mark covers is live': [
    () => ({ check: () => 'revoked' }),
    () => ({ check: () => Buffer.from('live') as unknown as 'live' })
  ],
  'a token mark revokes this token, whatever else is true of it, and no other token': marks(mark => 'tokenId' in mark ? undefined : mark),
  'a session mark revokes every token of this session and of no other session': credentials(credential =>
    credential.tokenId === undefined ? credential : { ...credential, sessionId: undefined }),
  'equal ids of a token, a session and a subject are not mixed up': good => ({
    async check ({ tokenId, sessionId, ...rest }) {
      const verdict = await good.check({ tokenId, sessionId, ...rest })
      return verdict === 'live' ? good.check({ tokenId: sessionId, sessionId: tokenId, ...rest }) : verdict
    }
  }),
  'a cutoff revokes what was issued until its instant, and not what was issued later': subjects(mark =>
    ({ ...mark, cutoff: mark.cutoff - 1 })),
  'a token of the same second as the cutoff is revoked, one of the next second is live': subjects(mark =>
    ({ ...mark, cutoff: Math.ceil(mark.cutoff / 1000) * 1000 })),
  'a credential that does not say when it was issued is revoked by every cutoff': [
    credentials(credential => ({ issuedAt: Infinity, ...credential })),
    credentials(credential => Number.isNaN(credential.issuedAt) ? { ...credential, issuedAt: Infinity } : credential)
  ],
  'a token that was refreshed after the cutoff of its login stays revoked': [
    credentials(({ loggedInAt: _, ...credential }) => credential),
    credentials(({ issuedAt = Infinity, loggedInAt = issuedAt, ...credential }) =>
      ({ ...credential, issuedAt: Math.min(issuedAt, loggedInAt) }))
  ],
  'a cutoff with a tenant covers the subject in that tenant only, one without in every tenant': subjects(({ tenant: _, ...mark }) => mark),
  'a mark with an issuer covers credentials of that issuer only, one without any credential': [
    marks(({ issuer: _, ...mark }) => mark as Mark),
    marks(mark => mark.issuer === undefined ? undefined : mark)
  ],
  'a credential that does not name its issuer or tenant is covered by the marks of all of them': [
    credentials(credential => ({ issuer: 'none', ...credential })),
    credentials(credential => ({ tenant: 'none', ...credential }))
  ],
  '"except" leaves exactly one session alone': subjects(({ except: _, ...mark }) => mark),
  '"except" brings nothing back': good => {
    const excepted = new Set<string>()
    return {
      revoke (...added) {
        for (const mark of added) if ('except' in mark && mark.except !== undefined) excepted.add(mark.except)
        return good.revoke(...added)
      },
      check: credential => credential.sessionId !== undefined && excepted.has(credential.sessionId) ? 'live' : good.check(credential)
    }
  },
  'cutoffs of one subject add up in any order: each revokes what it would revoke alone': latestCutoffOnly(false),
  'two cutoffs of one instant that except different sessions leave no session alone': latestCutoffOnly(true),
  'marks that are made at the same time are all kept': good => {
    let busy = false
    return {
      async revoke (...added) {
        if (busy && added.some(mark => 'subject' in mark)) return false
        busy = true
        await new Promise(resolve => setImmediate(resolve))
        const news = await good.revoke(...added)
        busy = false
        return news
      }
    }
  },
  'revoke resolves true if it revokes something more, not if a mark only lasts longer': [
    answers(() => true),
    answers(() => false),
    answers(news => Number(news) as unknown as boolean),
    answers((news, marks) => news || marks.some(({ until }) => until > Date.now() + 5_400_000)),
    good => ({ revoke: async (...added) => (await Promise.all(added.map(mark => good.revoke(mark)))).every(Boolean) }),
    marks(({ issuer: _, ...mark }) => mark as Mark)
  ],
  'revoke resolves true for a cutoff that reaches further than those of its subject': [
    answers((news, marks) => news || marks.some(mark => 'subject' in mark && mark.except?.endsWith('/c') === true)),
    answers(() => true),
    subjects(({ except: _, ...mark }) => mark),
    subjects(({ tenant: _, ...mark }) => mark),
    subjects(({ issuer: _, ...mark }) => mark)
  ],
  'of many concurrent calls with the same token mark or session mark, exactly one resolves true': [
    // Looks first, and writes afterwards.
    good => ({
      async revoke (...added) {
        const verdicts = await Promise.all(added.map(async mark => good.check(mark as Credential)))
        await new Promise(resolve => setImmediate(resolve))
        await good.revoke(...added)
        return verdicts.includes('live')
      }
    }),
    answers(() => false)
  ],
  'revokeOnce resolves true if no mark covered the credential before, and revokes it': [
    // Knows only its own marks, not the cutoffs.
    good => ({ revokeOnce: (_, ...added) => good.revoke(...added) }),
    once((wasLive, news) => wasLive || news),
    once(wasLive => !wasLive),
    once((wasLive, news) => Number(wasLive && news) as unknown as boolean),
    // Adds nothing for a credential that is revoked already.
    good => ({ revokeOnce: (credential, ...added) => good.check(credential) === 'live' && good.revoke(...added) }),
    good => ({ revokeOnce: credential => good.check(credential) === 'live' }),
    ...(['tokenId', 'sessionId', 'subject', 'tenant', 'issuer', 'issuedAt'] as const).map((name): Break => good => ({
      revokeOnce: ({ [name]: _, ...credential }, ...added) => good.revokeOnce(credential, ...added)
    }))
  ],
  'revokeOnce resolves false if its marks add nothing': [
    once(wasLive => wasLive),
    once((_, news) => !news),
    good => ({
      revokeOnce: (credential, ...added) => good.revokeOnce(credential, ...added.filter(mark => JSON.stringify(mark).includes('/')))
    })
  ],
  'revokeOnce takes more marks than fit into one statement or script': [
    good => ({ revokeOnce: (credential, ...added) => good.revokeOnce(credential, ...added.slice(0, 200)) }),
    // Judges the credential anew with each part.
    good => ({
      async revokeOnce (credential, ...added) {
        let news = false
        for (let from = 0; from < added.length; from += 200) news = await good.revokeOnce(credential, ...added.slice(from, from + 200))
        return news
      }
    }),
    good => ({ revokeOnce: (credential, ...added) => good.revokeOnce({ ...credential, tokenId: undefined }, ...added) })
  ],
  'of many concurrent calls of revokeOnce with the same mark, exactly one resolves true': [
    good => ({
      async revokeOnce (credential, ...added) {
        const verdict = await good.check(credential)
        await new Promise(resolve => setImmediate(resolve))
        await good.revoke(...added)
        return verdict === 'live'
      }
    }),
    once(() => false)
  ],
  // Asks once for all calls of a turn.
  'concurrent calls of revokeOnce answer for their own credentials': good => {
    let areLive = true
    return {
      async revokeOnce (credential, ...added) {
        areLive &&= await good.check(credential) === 'live'
        await new Promise(resolve => setImmediate(resolve))
        return await good.revoke(...added) && areLive
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
      check: credential => credential.tokenId !== undefined && ended.has(credential.tokenId) ? 'live' : good.check(credential)
    }
  },
  'a mark whose end has passed does nothing': marks(mark => ({ ...mark, until: mark.until + 10_000 })),
  'ids may be long and of any characters': [
    credentials(credential => ({ ...credential, tokenId: credential.tokenId?.slice(0, 255) })),
    credentials(credential => ({ ...credential, issuer: credential.issuer?.slice(0, 255) }))
  ],
  // This is what our own stores once did: a digest was its own stored form.
  'no id can be spelled so that it is taken for another one': [
    good => {
      const ids = new Map<string, string>()
      return {
        revoke (...added) {
          for (const mark of added) if ('sessionId' in mark) ids.set(`#${tokenDigest(mark.sessionId)}`, mark.sessionId)
          return good.revoke(...added)
        },
        check: credential => good.check({ ...credential, sessionId: ids.get(credential.sessionId ?? '') ?? credential.sessionId })
      }
    },
    marks(mark => 'tokenId' in mark && mark.tokenId.startsWith('#') ? { ...mark, digested: true } : mark)
  ],
  'a mark that another store gave out with digests covers the ids of these digests': marks(({ digested: _, ...mark }) => mark as Mark),
  'the number that a host has for an id stands for its text': [
    credentials(credential => typeof credential.sessionId === 'string' ? credential : { ...credential, sessionId: undefined }),
    marks(mark => 'tokenId' in mark && typeof mark.tokenId === 'number' ? undefined : mark)
  ],
  'a subject and a tenant are not mixed up with a longer subject': good => ({
    revoke: (...added) => good.revoke(...added.map(mark => 'subject' in mark
      ? { ...mark, tenant: undefined, subject: `${mark.tenant ?? ''}:${mark.subject}` }
      : mark)),
    check: credential => good.check({
      ...credential, ...(credential.subject !== undefined && { subject: `${credential.tenant ?? ''}:${credential.subject}` })
    })
  }),
  'an empty list of marks is accepted': good => ({
    revoke (...added) {
      if (added.length === 0) throw new AssertionError({ message: 'nothing to revoke' })
      return good.revoke(...added)
    }
  }),
  'twenty thousand marks fit into one call': good => ({ revoke: (...added) => good.revoke(...added.slice(0, 10_000)) }),
  'a malformed mark is refused with a TypeError, and its neighbours are not made': [
    marks(mark => Number.isSafeInteger(mark.until) && !('subject' in mark && !Number.isSafeInteger(mark.cutoff)) ? mark : undefined),
    good => ({
      async revoke (...added) {
        let news = false
        for (const mark of added) news = await good.revoke(mark) || news
        return news
      }
    })
  ],
  'of many who claim one key exactly one is the first': [
    () => ({ claimOnce: () => true }),
    good => ({ claimOnce: async (key, until) => String(Number(await good.claimOnce(key, until))) as unknown as boolean })
  ],
  'a claim that has ended can be made again, and a claim is not a mark': good => {
    const claimed = new Set<string>()
    return {
      claimOnce (key) {
        const first = !claimed.has(key)
        claimed.add(key)
        return first
      },
      check: good.check
    }
  },
  'a claim until a time that is not whole works, one until no instant is refused with a TypeError': [
    good => ({ claimOnce: (key, until) => Number.isInteger(until) && good.claimOnce(key, until) }),
    good => ({ claimOnce: (key, until) => good.claimOnce(key, Number.isFinite(until) ? until : Date.now() + 1000) })
  ]
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
          const isLater = known === undefined || known.cutoff < mark.cutoff || (!firstWins && known.cutoff === mark.cutoff)
          if (isLater) latest.set(mark.subject, mark)
        }
        return good.revoke(...added.filter(mark => !('subject' in mark)))
      },
      check (credential) {
        const mark = latest.get(credential.subject ?? '')
        const revoked = mark !== undefined && (credential.issuedAt ?? 0) <= mark.cutoff &&
          (mark.except === undefined || mark.except !== credential.sessionId)
        return revoked ? 'revoked' : good.check(credential)
      }
    }
  }
}

t.test('each rule catches every store that breaks its promise', async t => {
  for (const rule of revocationStoreRules) {
    const breakages = [broken[rule.name] ?? []].flat()
    t.ok(breakages.length > 0, `there is a broken store for: ${rule.name}`)
    for (const [index, breakage] of breakages.entries()) {
      await t.rejects(rule.check(() => {
        const good = memoryRevocationStore()
        return { ...good, ...breakage(good) }
      }), AssertionError, `${rule.name} (${index})`)
    }
  }
})

t.test('every broken store belongs to a rule', async t => {
  const names = revocationStoreRules.map(({ name }) => name)
  t.strictSame(Object.keys(broken).filter(name => !names.includes(name)), [])
})
