import { idOfMark, isId, markId } from './id.ts'
import type { Credential, Mark } from '../../revocation-store.ts'

/**
 * A mark as a row. Marks with the same `id`, `issuer`, `tenant` and `except` join by taking the greater `cutoff` and the
 * greater `until`; a row is dropped when it has ended. An empty text stands for what the mark does not name.
 */
export interface MarkRow {
  /** `t` and the id of a token, `s` and the id of a session, `u` and the id of a subject. */
  readonly id: string
  readonly issuer: string
  readonly tenant: string
  /** The session that a cutoff leaves alone. */
  readonly except: string
  /** The cutoff of a subject; later than every instant for a token or a session. */
  readonly cutoff: number
  readonly until: number
}

/** Later than every instant. */
export const always = Number.MAX_SAFE_INTEGER

/** The row of a mark. */
export function rowOfMark (mark: Mark): MarkRow {
  const { until } = mark
  const stored = (id: string | undefined) => id === undefined ? '' : idOfMark(id, mark)
  const scope = { issuer: stored(mark.issuer), tenant: '', except: '', cutoff: always, until }
  if ('tokenId' in mark) return { id: `t${stored(mark.tokenId)}`, ...scope }
  if ('sessionId' in mark) return { id: `s${stored(mark.sessionId)}`, ...scope }
  const { subject, tenant, cutoff, except } = mark
  return { id: `u${stored(subject)}`, ...scope, tenant: stored(tenant), except: stored(except), cutoff }
}

/** The mark of a row. */
export function markOfRow ({ id, issuer, tenant, except, cutoff, until }: MarkRow): Mark {
  const name = id.slice(1)
  // Most marks are of a token, and a replica loads millions of them.
  if (id.startsWith('t') && issuer === '' && !name.startsWith('#')) return { tokenId: name, until }
  const digested = [name, issuer, tenant, except].some(text => text.startsWith('#'))
  const scope = { ...(issuer !== '' && { issuer }), until, ...(digested && { digested }) }
  if (id.startsWith('t')) return { tokenId: name, ...scope }
  if (id.startsWith('s')) return { sessionId: name, ...scope }
  return { subject: name, ...(tenant !== '' && { tenant }), cutoff, ...(except !== '' && { except }), ...scope }
}

/** The rows of several marks, one for each key. Their order depends only on their keys, so that writers cannot deadlock. */
export function rowsOfMarks (marks: readonly Mark[], now: number): MarkRow[] {
  const rows = new Map<string, MarkRow>()
  for (const row of marks.filter(mark => mark.until > now).map(rowOfMark)) {
    const key = JSON.stringify([row.id, row.issuer, row.tenant, row.except])
    const known = rows.get(key) ?? row
    rows.set(key, { ...row, cutoff: Math.max(row.cutoff, known.cutoff), until: Math.max(row.until, known.until) })
  }
  return [...rows.keys()].sort().map(key => rows.get(key) as MarkRow)
}

/** What to look for: a row with one of the ids that revokes the rest, {@link isRevokedBy}. */
export interface MarkQuestion {
  /** At most three. */
  readonly ids: readonly string[]
  /** Empty texts stand for what the credential does not name. */
  readonly issuer: string
  readonly tenant: string
  readonly session: string
  /** The instant that is compared with cutoffs: a whole number of milliseconds. */
  readonly issuedAt: number
}

/** The question of a credential. */
export function questionOf (credential: Credential): MarkQuestion {
  const { tokenId, sessionId, subject, tenant, issuer, issuedAt = NaN, loggedInAt = issuedAt } = credential
  const stored = (id: string | undefined) => isId(id) ? markId(id) : ''
  const ids = [['t', stored(tokenId)], ['s', stored(sessionId)], ['u', stored(subject)]] as const
  return {
    ids: ids.filter(([, id]) => id !== '').map(([kind, id]) => `${kind}${id}`),
    issuer: stored(issuer),
    tenant: stored(tenant),
    session: stored(sessionId),
    issuedAt: Number.isNaN(loggedInAt) ? -always : Math.max(-always, Math.min(always, Math.ceil(loggedInAt)))
  }
}

/** Whether a row with one of the question's ids revokes the credential. */
export function isRevokedBy ({ issuer, tenant, except, cutoff, until }: MarkRow, question: MarkQuestion, now: number): boolean {
  return until > now && cutoff >= question.issuedAt && (except === '' || except !== question.session) &&
    isSameScope(issuer, question.issuer) && isSameScope(tenant, question.tenant)
}

/** Issuers and tenants are compared only if both sides name one. */
function isSameScope (marked: string, asked: string): boolean {
  return marked === '' || asked === '' || marked === asked
}
