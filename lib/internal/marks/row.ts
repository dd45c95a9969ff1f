import { markId, subjectKey, subjectOfKey } from './id.ts'
import type { Credential, Mark } from '../../revocation-store.ts'

/**
 * A mark as a row. Marks with the same `id` and `spared` join by taking the greater `cutoff` and the greater `until`;
 * a row is dropped when it has ended.
 */
export interface MarkRow {
  /** `t` and the id of a token, `s` and the id of a session, `u` and the key of a subject. */
  readonly id: string
  /** The session that a cutoff leaves alone, or nothing. */
  readonly spared: string
  /** The cutoff of a subject; 0 for a token or a session. */
  readonly cutoff: number
  readonly until: number
}

/** The row of a mark. */
export function rowOfMark (mark: Mark): MarkRow {
  const { until } = mark
  if ('tokenId' in mark) return { id: `t${markId(mark.tokenId)}`, spared: '', cutoff: 0, until }
  if ('sessionId' in mark) return { id: `s${markId(mark.sessionId)}`, spared: '', cutoff: 0, until }
  const { subject, tenant, cutoff, except } = mark
  return { id: `u${subjectKey(subject, tenant)}`, spared: except === undefined ? '' : markId(except), cutoff, until }
}

/** The mark of a row. */
export function markOfRow ({ id, spared, cutoff, until }: MarkRow): Mark {
  const name = id.slice(1)
  if (id.startsWith('t')) return { tokenId: name, until }
  if (id.startsWith('s')) return { sessionId: name, until }
  return { ...subjectOfKey(name), cutoff, ...(spared !== '' && { except: spared }), until }
}

/** Several rows as one list in which each `id` and `spared` occurs once, in an order that is the same for all who write. */
export function rowsOfMarks (marks: readonly Mark[], now: number): MarkRow[] {
  const rows = new Map<string, MarkRow>()
  for (const row of marks.filter(mark => mark.until > now).map(rowOfMark)) {
    const key = JSON.stringify([row.id, row.spared])
    const known = rows.get(key) ?? row
    rows.set(key, { ...row, cutoff: Math.max(row.cutoff, known.cutoff), until: Math.max(row.until, known.until) })
  }
  return [...rows.keys()].sort().map(key => rows.get(key) as MarkRow)
}

/** What to look for: any row of the first ids, or a row of the second ids whose cutoff is not before `issuedAt` and that does not spare the session. */
export interface MarkQuestion {
  readonly ids: readonly [string, string]
  readonly subjects: readonly [string, string]
  readonly session: string
  /** A whole number of milliseconds. */
  readonly issuedAt: number
}

/** The question of some facts. Empty texts stand for what the credential does not have, and are no ids. */
export function questionOf ({ tokenId, sessionId, subject, tenant, issuedAt = NaN }: Credential): MarkQuestion {
  return {
    ids: [tokenId === undefined ? '' : `t${markId(tokenId)}`, sessionId === undefined ? '' : `s${markId(sessionId)}`],
    subjects: [
      subject === undefined ? '' : `u${subjectKey(subject, undefined)}`,
      subject === undefined || tenant === undefined ? '' : `u${subjectKey(subject, tenant)}`
    ],
    session: sessionId === undefined ? '' : markId(sessionId),
    issuedAt: Number.isNaN(issuedAt) ? Number.MIN_SAFE_INTEGER : Math.max(Number.MIN_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, Math.ceil(issuedAt)))
  }
}
