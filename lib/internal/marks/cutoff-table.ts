import { cutoffOf, isCutOff, isSameCutoff, joinCutoffs, type Cutoff } from './cutoff.ts'
import { secondOf, storedFormHash } from './fingerprint-table.ts'
import { idOfMark, isId, markId } from './id.ts'
import { keyedHash, type KeyedHash } from './keyed-hash.ts'
import { expiryWord, slotTable } from './slot-table.ts'
import type { Credential, SubjectMark } from '../../revocation-store.ts'

/** Where in a slot, behind the fingerprint of its subject and its second, something is. Instants take two words, ids three. */
const place = { at: 4, exceptAt: 6, issuer: 8, tenant: 11, except: 14 }
const slotWords = 17
const kinds = { subject: 0, issuer: 1, tenant: 2, except: 3 }
type IdName = 'issuer' | 'tenant' | 'except'
type ScopeName = 'issuer' | 'tenant'

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
  const slots = cutoffSlots(hash)
  const hashId = storedFormHash(hash)
  const print = new Uint32Array(3)

  return {
    join (mark, now) {
      const own = cutoffOf(mark)
      const scope = { issuer: storedId(mark.issuer, mark), tenant: storedId(mark.tenant, mark) }
      hash(kinds.subject, idOfMark(mark.subject, mark), print)
      const start = table.take(print, now / 1000, (shard, start) => slots.hasScope({ shard, start }, scope))
      const slot = { shard: table.shard(print), start }
      if (slot.shard[start + expiryWord] === 0) {
        slots.setScope(slot, scope)
        slots.write(slot, own)
        return true
      }
      const known = slots.read(slot, own.except)
      const joined = joinCutoffs(known, own)
      slots.write(slot, joined)
      return !isSameCutoff(known, joined)
    },
    isRevoked (subject, credential, now) {
      hashId(kinds.subject, subject, print)
      return table.some(print, now / 1000, (shard, start) =>
        shard[start + 2] === print[2] && isRevoked(slots, { shard, start }, credential))
    },
    sweep: now => { table.sweep(now / 1000) },
    count: () => table.count(),
    size: () => table.bytes()
  }
}

function storedId (id: string | undefined, mark: SubjectMark): string | undefined {
  return id === undefined ? undefined : idOfMark(id, mark)
}

/** Where the slot of a cutoff begins. */
interface Slot { readonly shard: Uint32Array, readonly start: number }

/** Issuer and tenant, in their stored form. */
interface Scope { readonly issuer: string | undefined, readonly tenant: string | undefined }

/** Reads and writes the slots of cutoffs. */
function cutoffSlots (hash: KeyedHash) {
  const { print, printOfCredential } = slotPrints(hash)

  return {
    hasScope: ({ shard, start }: Slot, { issuer, tenant }: Scope): boolean =>
      isPrintAt(shard, start + place.issuer, print('issuer', issuer)) && isPrintAt(shard, start + place.tenant, print('tenant', tenant)),

    setScope ({ shard, start }: Slot, { issuer, tenant }: Scope): void {
      shard.set(print('issuer', issuer), start + place.issuer)
      shard.set(print('tenant', tenant), start + place.tenant)
    },

    /** The cutoff in a slot, which holds only a fingerprint of the excepted session: it is this session or another one. */
    read ({ shard, start }: Slot, session: string | undefined): Cutoff {
      const isExcepted = session !== undefined && isPrintAt(shard, start + place.except, print('except', session))
      return {
        at: instantAt(shard, start + place.at),
        exceptAt: instantAt(shard, start + place.exceptAt),
        except: isPrintAt(shard, start + place.except, none) ? undefined : isExcepted ? session : anotherSession,
        until: shard[start + expiryWord] as number * 1000
      }
    },

    write ({ shard, start }: Slot, { at, exceptAt, except, until }: Cutoff): void {
      setInstant(shard, start + place.at, at)
      setInstant(shard, start + place.exceptAt, exceptAt)
      if (except !== anotherSession) shard.set(print('except', except), start + place.except)
      shard[start + expiryWord] = secondOf(until)
    },

    /** Whether a slot may revoke a credential with this issuer or tenant: they are compared only if both sides name one. */
    isInScope ({ shard, start }: Slot, name: ScopeName, id: string | undefined): boolean {
      const at = start + place[name]
      return !isId(id) || isPrintAt(shard, at, none) || isPrintAt(shard, at, printOfCredential(name, id))
    }
  }
}

/** Whether a live slot revokes a credential of its subject. */
function isRevoked (slots: ReturnType<typeof cutoffSlots>, slot: Slot, credential: Credential): boolean {
  const { issuer, tenant, sessionId } = credential
  if (!slots.isInScope(slot, 'issuer', issuer) || !slots.isInScope(slot, 'tenant', tenant)) return false
  // Few cutoffs leave a session alone, and ids take long to hash.
  const session = sessionId === undefined || isPrintAt(slot.shard, slot.start + place.except, none) ? undefined : markId(sessionId)
  return isCutOff(slots.read(slot, session), credential, 0)
}

/** The fingerprint that stands for no id. */
const none = new Uint32Array(3)

/** Fingerprints of ids, each valid until the next call. */
function slotPrints (hash: KeyedHash) {
  const own = new Uint32Array(3)
  const hashId = storedFormHash(hash)
  const last = { issuer: { id: '', print: new Uint32Array(3) }, tenant: { id: '', print: new Uint32Array(3) } }

  return {
    /** Of an id in its stored form. */
    print (name: IdName, id: string | undefined): Uint32Array {
      if (id === undefined) return none
      hash(kinds[name], id, own)
      return own
    },
    /** Of an id as a credential has it. The last issuer and the last tenant are not hashed again: most hosts have one issuer. */
    printOfCredential (name: ScopeName, id: string): Uint32Array {
      const known = last[name]
      if (known.id !== id) hashId(kinds[name], id, known.print)
      known.id = id
      return known.print
    }
  }
}

function isPrintAt (shard: Uint32Array, at: number, print: Uint32Array): boolean {
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
