import { STATUS_CODES } from 'node:http'
import type { LogoutEvent } from '../lib/logout-event.ts'
import type { NewSession, SessionStore } from '../lib/session-store.ts'
import { memorySessionStore } from '../lib/session-stores/memory.ts'
import type { Answer } from './wire.ts'

const hour = 3_600_000
const now = Date.now()

/** A UUID that is recognised by its last letters. */
export function id (ending: string): string {
  return `00000000-0000-4000-8000-${ending.padStart(12, '0')}`
}

export const alice = id('a11ce')
export const bob = id('b0b')

/** Tokens and the public ids of their sessions, the newest first. */
export const people = {
  laptop: { token: 'ory_st_laptop', id: id('a1') },
  phone: { token: 'ory_st_phone', id: id('a2') },
  tablet: { token: 'ory_st_tablet', id: id('a3') },
  expired: { token: 'ory_st_expired', id: id('a4') },
  loggedOut: { token: 'ory_st_logged_out', id: id('a5') },
  bobs: { token: 'ory_st_bobs', id: id('b1') }
} as const

/** A store with Alice's three devices, an expired and a logged-out session of hers, and Bob's; and the events of onLogout. */
export async function host () {
  const sessions = memorySessionStore()
  const events: LogoutEvent[] = []
  const session = (person: { readonly id: string }, age: number, rest: Partial<NewSession> = {}): NewSession => ({
    id: person.id, subject: alice, createdAt: now - age, expiresAt: now + hour, keepUntil: now + 2 * hour, ...rest
  })
  const device = { ipAddress: '192.0.2.1', userAgent: 'laptop', location: 'London' }
  await sessions.create(people.laptop.token, session(people.laptop, 1000, { device, data: { provider: 'secret' } }))
  await sessions.create(people.phone.token, session(people.phone, 2000))
  await sessions.create(people.tablet.token, session(people.tablet, 3000))
  await sessions.create(people.expired.token, session(people.expired, 2 * hour, { expiresAt: now - 1 }))
  await sessions.create(people.loggedOut.token, session(people.loggedOut, 4000))
  await sessions.logOut(people.loggedOut.token)
  await sessions.create(people.bobs.token, session(people.bobs, 5000, { subject: bob }))
  return { sessions, events, onLogout: async (event: LogoutEvent) => { events.push(event) }, isLive: liveness(sessions) }
}

function liveness (sessions: SessionStore) {
  return async (person: { readonly token: string }) => (await sessions.find(person.token))?.status === 'active'
}

interface FailureMembers {
  readonly id?: string
  readonly reason?: string
  readonly request?: string
  readonly message?: string
}

/** Ory's error envelope, with the headers of every error. */
export function failure (code: number, { id = '', ...rest }: FailureMembers = {}): Answer {
  const messages: Record<number, string> = {
    400: 'The request was malformed or contained invalid parameters',
    401: 'The request could not be authorized',
    403: 'The requested action was forbidden',
    404: 'The requested resource could not be found',
    500: 'An internal server error occurred, please contact the system administrator'
  }
  const status = STATUS_CODES[code] ?? 'Unknown'
  const { request, reason, message = messages[code] ?? status } = rest
  const body = JSON.stringify({ error: { ...(id !== '' && { id }), code, status, request, reason, message } })
  return {
    status: code,
    body,
    headers: {
      vary: 'Cookie',
      'cache-control': 'no-store',
      'ory-error-id': id,
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(body))
    }
  }
}

/** A 200 with JSON. */
export function json (value: unknown, headers: Record<string, string> = {}): Answer {
  const body = JSON.stringify(value)
  return {
    status: 200,
    body,
    headers: {
      ...headers,
      vary: 'Cookie',
      'cache-control': 'no-store',
      'content-type': 'application/json; charset=utf-8',
      'content-length': String(Buffer.byteLength(body))
    }
  }
}

/** A 204. */
export function empty (headers: Record<string, string | string[]> = {}): Answer {
  return { status: 204, body: '', headers: { ...headers, vary: 'Cookie', 'cache-control': 'no-store' } }
}

/** A 303 to there. */
export function seeOther (location: string, headers: Record<string, string | string[]> = {}): Answer {
  return { status: 303, body: '', headers: { ...headers, location, vary: 'Cookie', 'cache-control': 'no-store', 'content-length': '0' } }
}

/** A store of which every function fails. */
export function failing (how: () => never): SessionStore {
  return { create: how, find: how, logOut: how, logOutById: how, logOutSubject: how, list: how }
}
