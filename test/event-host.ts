import type { SecurityEvent, SecurityEventOptions } from '../lib/internal/security-events/receiver.ts'
import type { LogoutEvent } from '../lib/logout-event.ts'
import { memoryProviderSessionIndex } from '../lib/provider-session-indexes/memory.ts'
import { memoryRevocationStore } from '../lib/revocation-stores/memory.ts'
import { memorySessionStore } from '../lib/session-stores/memory.ts'
import type { AffectedUser } from '../lib/internal/security-events/users.ts'

/** A host with alice and bob, three sessions each, that writes down what is asked of it. */
export async function eventHost () {
  const sessions = memorySessionStore()
  const revocations = memoryRevocationStore()
  const index = memoryProviderSessionIndex()
  const steps: string[] = []
  const told: LogoutEvent[] = []
  const events: SecurityEvent[] = []
  const subjects: unknown[] = []

  async function addSession (subject: string, name: string, createdAt = Date.now()): Promise<string> {
    const id = `${subject}-${name}`
    await sessions.create(id, { id, subject, createdAt, expiresAt: Date.now() + 60_000, keepUntil: Date.now() + 60_000 })
    return id
  }
  for (const subject of ['alice', 'bob']) for (const name of ['1', '2', '3']) await addSession(subject, name)

  const names = (users: readonly AffectedUser[]) => users.map(({ subject }) => subject).join()
  const options = {
    revocations,
    resolveSubject: async (subject, sender) => {
      steps.push(`resolve ${subject.format}`)
      subjects.push(subject, sender)
      const user = subject.format === 'complex' ? subject.user : subject
      const name = user?.format === 'iss_sub' ? user.sub : user?.format === 'email' ? user.email : user?.format === 'opaque' ? user.id : ''
      if (name === 'forbidden' || name === 'unable') return name
      return ['alice', 'bob'].includes(name) ? [{ subject: name }] : []
    },
    end: {
      revoke: {
        revocations: {
          revoke: (...marks) => {
            steps.push(`mark ${marks.map(mark => 'subject' in mark ? mark.subject : '?').join()}`)
            return revocations.revoke(...marks)
          }
        },
        lifetime: 3_600_000
      },
      alsoEnd: async (users, event) => { steps.push(`also end ${names(users)}${event.sessions === undefined ? '' : ' by session'}`) },
      sessions: {
        ...sessions,
        logOutSubject: async query => {
          steps.push(`sessions of ${query.subject}`)
          return sessions.logOutSubject(query)
        },
        logOutById: async query => {
          steps.push(`session ${query.id}`)
          return sessions.logOutById(query)
        }
      }
    },
    onLogout: event => { told.push(event) },
    onEvent: event => { events.push(event) }
  } satisfies SecurityEventOptions<undefined>

  const live = async (subject: string) => (await sessions.list({ subject, limit: 20 })).map(({ id }) => id).sort()
  return { sessions, revocations, index, steps, told, events, subjects, options, addSession, live }
}
