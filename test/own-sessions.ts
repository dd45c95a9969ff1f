import type { FastifyRequest } from 'fastify'
import type { SessionSource } from '../lib/session-source.ts'
import { faults, told } from './session-host.ts'

/** A session of a host with a table of its own. Ids are numbers, as in many tables. */
export interface OwnSession {
  readonly id: number
  readonly subject: number
  readonly tenant?: string
  readonly device: string
}

interface Row extends OwnSession {
  readonly createdAt: number
  endedAt: number | undefined
  expiresAt: number
}

/** A host's table of sessions, and plain functions over it. */
export function ownSessions () {
  const rows = new Map<string, Row>()
  const { set: broken, run } = faults()
  const { events, onLogout } = told()
  const calls: string[] = []
  const asked = <T>(name: string, work: () => T): T => {
    calls.push(name)
    return run(name, work)
  }
  const live = (row: Row | undefined) => row !== undefined && row.endedAt === undefined && row.expiresAt > Date.now() ? row : undefined
  const shown = ({ id, subject, tenant, device }: Row): OwnSession => ({ id, subject, ...(tenant !== undefined && { tenant }), device })

  const sessions: Required<Pick<SessionSource<OwnSession>, 'find' | 'logOut' | 'logOutSubject'>> = {
    find: request => asked('find', () => {
      const row = live(rows.get(sid(request)))
      return row && shown(row)
    }),
    logOut: request => asked('logOut', () => {
      const row = rows.get(sid(request))
      const before = live(row)
      if (row !== undefined) row.endedAt ??= Date.now()
      return before && shown(before)
    }),
    logOutSubject: ({ subject, tenant, except }) => asked('logOutSubject', () => {
      const others = [...rows.values()].filter(row => row.subject === subject && row.tenant === tenant && row.id !== except && live(row))
      for (const row of others) row.endedAt = Date.now()
      return others.length
    })
  }

  return {
    sessions,
    rows,
    broken,
    events,
    onLogout,
    calls,
    /** Logs a user in on a device: the cookie header. */
    logIn (subject: number, device = 'laptop', more: Partial<Row> = {}): string {
      const id = rows.size + 1
      const now = Date.now()
      rows.set(`secret-${id}`, { id, subject, device, createdAt: now, endedAt: undefined, expiresAt: now + 3_600_000, ...more })
      return `sid=secret-${id}`
    },
    isLive: (cookie: string) => live(rows.get(cookie.slice('sid='.length))) !== undefined
  }
}

function sid ({ headers }: FastifyRequest): string {
  return /(?:^|; )sid=([^;]+)/.exec(headers.cookie ?? '')?.[1] ?? ''
}
