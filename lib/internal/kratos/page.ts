import type { Session, SessionPage } from '../../session-store.ts'

/** One page of sessions, as a query asks for it. */
export interface PageQuery {
  /** How many sessions the page has at most. */
  readonly size: number
  /** How many sessions come before it, behind `after`. */
  readonly skip: number
  readonly after?: SessionPage['after']
}

/** How far `page` reaches: counting through sessions is for the few that a person has. */
const furthest = 10_000

/**
 * Reads `page_size` and `page_token`, or the older `per_page` and `page`: 250 sessions a page if nothing is said, at
 * most 1000. What is no number counts as nothing said. `undefined` for a token that is not ours, and for a `page` too
 * far away to be counted to.
 * @see https://www.ory.com/docs/kratos/reference/api#tag/frontend/operation/listMySessions
 */
export function pageQuery (query: URLSearchParams): PageQuery | undefined {
  const size = Math.min(Math.max(integer(query.get('page_size') ?? query.get('per_page')) ?? 250, 1), 1000)
  const token = query.get('page_token') ?? ''
  if (token !== '') {
    const after = positionOf(token)
    return after === undefined ? undefined : { size, skip: 0, after }
  }
  const skip = (Math.max(integer(query.get('page')) ?? 1, 1) - 1) * size
  return skip > furthest ? undefined : { size, skip }
}

/** How many sessions to ask the store for: one more than the page has tells whether there is a next one. */
export function sessionsToList ({ size, skip }: PageQuery): number {
  return skip + size + 1
}

/** The sessions of the page, and its `Link` header. The path is that of the request. */
export function pageOf (listed: readonly Session[], { size, skip }: PageQuery, path: string): { readonly sessions: readonly Session[], readonly link: string } {
  const sessions = listed.slice(skip, skip + size)
  const last = sessions.at(-1)
  const links = [`<${path}?page_size=${size}>; rel="first"`]
  if (last !== undefined && listed.length > skip + size) links.push(`<${path}?page_size=${size}&page_token=${tokenOf(last)}>; rel="next"`)
  return { sessions, link: links.join(', ') }
}

function integer (text: string | null): number | undefined {
  return text !== null && /^\d{1,9}$/.test(text) ? Number(text) : undefined
}

function tokenOf ({ createdAt, id }: Session): string {
  return Buffer.from(JSON.stringify([createdAt, id])).toString('base64url')
}

function positionOf (token: string): SessionPage['after'] {
  try {
    const [createdAt, id, ...rest] = JSON.parse(Buffer.from(token, 'base64url').toString())
    if (Number.isSafeInteger(createdAt) && typeof id === 'string' && rest.length === 0) return { createdAt, id }
  } catch {}
  return undefined
}
