import { cutoffOf, isCutOff, isSameCutoff, joinCutoffs, type Cutoff } from './cutoff.ts'
import { hashId, secondOf } from './fingerprint-table.ts'
import { idOfMark, isId, markId } from './id.ts'
import { keyedHash, type KeyedHash } from './keyed-hash.ts'
import { expiryWord, slotTable } from './slot-table.ts'
import type { Credential, SubjectMark } from '../../revocation-store.ts'

/** Where in a slot, behind the fingerprint of its subject and its second, something is. Instants take two words, ids three. */
const place = { at: 4, exceptAt: 6, issuer: 8, tenant: 11, except: 14 }
const slotWords = 17
const kinds = { subject: 0, issuer: 1, tenant: 2, except: 3 }
type IdName = 'issuer' | 'tenant' | 'except'

/** Stands for the id of a session that is not the one in question. No id is empty. */
const anotherSession = ''

/**
 * The cutoffs of subjects, each until an instant, for millions of them: 91 to 136 bytes for each subject with its issuer
 * and tenant. It keeps keyed 96-bit fingerprints instead of the ids, and seconds of expiry, rounded up.
 */
export interface CutoffTable {
  /** Joins a mark to what is known of its subject. Returns whether it revokes something more. */
  join (mark: SubjectMark, now: number): boolean
  /** Whether a cutoff of this subject revokes a credential. */
  isRevoked (subject: string, credential: Credential, now: number): boolean
  /** Frees a little of the memory of cutoffs that have ended. */
  sweep (now: number): void
  /** How many cutoffs are remembered. */
  count (): number
  /** Bytes in use. */
  size (): number
}

/** An empty {@link CutoffTable}. The hash is a parameter only for tests. */
export function cutoffTable (hash: KeyedHash = keyedHash()): CutoffTable {
  const table = slotTable(slotWords)
  const ids = slotIds(hash)
  const print = new Uint32Array(3)

  return {
    join (mark, now) {
      const own = cutoffOf(mark)
      const stored = (id: string | undefined) => id === undefined ? undefined : idOfMark(id, mark)
      const [issuer, tenant] = [stored(mark.issuer), stored(mark.tenant)]
      const isSame = (shard: Uint32Array, slot: number) => ids.is(shard, slot, 'issuer', issuer) && ids.is(shard, slot, 'tenant', tenant)
      hash(kinds.subject, idOfMark(mark.subject, mark), print)
      const slot = table.take(print, now / 1000, isSame)
      const shard = table.shard(print)
      const known = shard[slot + expiryWord] === 0 ? undefined : readCutoff(shard, slot, ids, own.except)
      const joined = known === undefined ? own : joinCutoffs(known, own)
      if (known === undefined) {
        ids.set(shard, slot, 'issuer', issuer)
        ids.set(shard, slot, 'tenant', tenant)
      }
      writeCutoff(shard, slot, ids, joined)
      return known === undefined || !isSameCutoff(known, joined)
    },
    isRevoked (subject, credential, now) {
      hashId(hash, kinds.subject, subject, print)
      for (let slot = table.match(print, now / 1000, -1); slot !== -1; slot = table.match(print, now / 1000, slot)) {
        const shard = table.shard(print)
        if (shard[slot + 2] === print[2] && isRevokedBy(shard, slot, ids, credential)) return true
      }
      return false
    },
    sweep (now) {
      table.sweep(now / 1000)
    },
    count: () => table.count(),
    size: () => table.bytes()
  }
}

/** Whether a live slot revokes a credential of its subject. Issuers and tenants are compared only if both sides name one. */
function isRevokedBy (shard: Uint32Array, slot: number, ids: SlotIds, credential: Credential): boolean {
  const { issuer, tenant, sessionId } = credential
  if (isId(issuer) && !ids.is(shard, slot, 'issuer', undefined) && !ids.isOfCredential(shard, slot, 'issuer', issuer)) return false
  if (isId(tenant) && !ids.is(shard, slot, 'tenant', undefined) && !ids.isOfCredential(shard, slot, 'tenant', tenant)) return false
  // Few cutoffs leave a session alone, and ids take long to hash.
  const session = sessionId === undefined || ids.is(shard, slot, 'except', undefined) ? undefined : markId(sessionId)
  return isCutOff(readCutoff(shard, slot, ids, session), credential, 0)
}

/** The cutoff in a slot, which holds only a fingerprint of the excepted session: it is this session or another one. */
function readCutoff (shard: Uint32Array, slot: number, ids: SlotIds, session: string | undefined): Cutoff {
  const isExcepted = session !== undefined && ids.is(shard, slot, 'except', session)
  return {
    at: instantAt(shard, slot + place.at),
    exceptAt: instantAt(shard, slot + place.exceptAt),
    except: ids.is(shard, slot, 'except', undefined) ? undefined : isExcepted ? session : anotherSession,
    until: shard[slot + expiryWord] as number * 1000
  }
}

function writeCutoff (shard: Uint32Array, slot: number, ids: SlotIds, { at, exceptAt, except, until }: Cutoff): void {
  setInstant(shard, slot + place.at, at)
  setInstant(shard, slot + place.exceptAt, exceptAt)
  if (except !== anotherSession) ids.set(shard, slot, 'except', except)
  shard[slot + expiryWord] = secondOf(until)
}

interface SlotIds {
  is (shard: Uint32Array, slot: number, name: IdName, id: string | undefined): boolean
  /** The same for an id as a credential has it. */
  isOfCredential (shard: Uint32Array, slot: number, name: 'issuer' | 'tenant', id: string): boolean
  set (shard: Uint32Array, slot: number, name: IdName, id: string | undefined): void
}

/**
 * Ids in their stored form as the fingerprints in a slot. Three zeros stand for none. The last issuer and the last tenant
 * are not hashed again: most hosts have one issuer.
 */
function slotIds (hash: KeyedHash): SlotIds {
  const print = new Uint32Array(3)
  const last = { issuer: { id: '', print: new Uint32Array(3) }, tenant: { id: '', print: new Uint32Array(3) } }
  const fingerprint = (name: IdName, id: string | undefined) => {
    if (id === undefined) print[0] = print[1] = print[2] = 0
    else hash(kinds[name], id, print)
  }

  return {
    is (shard, slot, name, id) {
      fingerprint(name, id)
      return hasPrint(shard, slot + place[name], print)
    },
    isOfCredential (shard, slot, name, id) {
      const known = last[name]
      if (known.id !== id) {
        hash(kinds[name], markId(id), known.print)
        known.id = id
      }
      return hasPrint(shard, slot + place[name], known.print)
    },
    set (shard, slot, name, id) {
      fingerprint(name, id)
      for (let word = 0; word < 3; word++) shard[slot + place[name] + word] = print[word] as number
    }
  }
}

function hasPrint (shard: Uint32Array, at: number, print: Uint32Array): boolean {
  return shard[at] === print[0] && shard[at + 1] === print[1] && shard[at + 2] === print[2]
}

/** An integer of up to 53 bits and its sign, in two words. */
function setInstant (words: Uint32Array, index: number, instant: number): void {
  words[index] = Math.floor(instant / 0x1_0000_0000)
  words[index + 1] = instant
}

function instantAt (words: Uint32Array, index: number): number {
  return ((words[index] as number) | 0) * 0x1_0000_0000 + (words[index + 1] as number)
}
