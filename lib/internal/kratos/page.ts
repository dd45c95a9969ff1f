import { Type } from '@sinclair/typebox'
import type { Session, SessionPage } from '../../session-store.ts'

/** The query parameters of a list, for route schemas. */
export const pageSchema = Type.Object({
  page_size: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: 250 })),
  page_token: Type.Optional(Type.String({ description: 'From the Link header of the previous page' }))
})

/** The page of sessions that a query asks for. */
export interface PageQuery {
  /** The largest number of sessions on the page. */
  readonly size: number
  /** How many sessions to skip after `after`. */
  readonly skip: number
  readonly after?: SessionPage['after']
}

/** The most sessions that `page` may skip: the store reads them in vain. */
const furthest = 10_000

/**
 * Reads `page_size` and `page_token`, or the older `per_page` and `page`. A page has 250 sessions by default and at most
 * 1000. A value that is not a number is ignored. Returns `undefined` for a token that is not ours, and for a `page` that
 * would skip too many sessions.
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

/** Returns how many sessions to read: one more than the page has, to find out whether there is a next page. */
export function sessionsToList ({ size, skip }: PageQuery): number {
  return skip + size + 1
}

/** One page of sessions, and its `Link` header. */
export interface Page {
  readonly sessions: readonly Session[]
  readonly link: string
}

/** Returns the page of the sessions that were read. The links have the path of the request. */
export function pageOf (listed: readonly Session[], { size, skip }: PageQuery, path: string): Page {
  const sessions = listed.slice(skip, skip + size)
  const last = sessions.at(-1)
  const links = [`<${path}?page_size=${size}>; rel="first"`]
  if (last !== undefined && listed.length > skip + size) {
    links.push(`<${path}?page_size=${size}&page_token=${tokenOf(last)}>; rel="next"`)
  }
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
