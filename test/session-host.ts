import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import type { LogoutEvent } from '../lib/logout-event.ts'
import type { HostSession } from '../lib/session-source.ts'

/** A device of a user: it keeps its cookies as a browser does, and may hold tokens. */
export interface Device {
  readonly cookies: ReadonlyMap<string, string>
  /** Sent with every request. */
  readonly headers: Record<string, string>
  send (request: InjectOptions): Promise<LightMyRequestResponse>
  /** The same device at this moment, for requests with what it has now. */
  copy (): Device
  /** Reads the cookies of a response that was not sent for. */
  keep (response: Pick<LightMyRequestResponse, 'headers'>): void
}

/** A device without credentials. Every request of it comes over https, as behind a proxy. */
export function newDevice (app: FastifyInstance, jar = new Map<string, string>(), headers: Record<string, string> = {}): Device {
  return {
    cookies: jar,
    headers,
    async send (request) {
      const cookie = Array.from(jar, ([name, value]) => `${name}=${value}`).join('; ')
      const response = await app.inject({
        ...request,
        headers: { 'x-forwarded-proto': 'https', ...headers, ...(cookie !== '' && { cookie }), ...request.headers }
      })
      this.keep(response)
      return response
    },
    copy: () => newDevice(app, new Map(jar), { ...headers }),
    keep (response) {
      for (const { name, value, removed } of setCookies(response)) {
        if (removed) jar.delete(name)
        else jar.set(name, value)
      }
    }
  }
}

/** One `Set-Cookie` line. */
export interface SetCookie {
  readonly name: string
  readonly value: string
  /** Lower-case names; an attribute without a value is an empty text. */
  readonly attributes: Readonly<Record<string, string>>
  /** Whether it has both expiries of a removal, and no value. */
  readonly removed: boolean
}

/** The cookies that a response sets. */
export function setCookies ({ headers }: Pick<LightMyRequestResponse, 'headers'>): SetCookie[] {
  return [headers['set-cookie'] ?? []].flat().map(line => {
    const [pair = '', ...rest] = line.split(';').map(part => part.trim())
    const equals = pair.indexOf('=')
    const attributes = Object.fromEntries(rest.map(part => {
      const at = part.indexOf('=')
      return at === -1 ? [part.toLowerCase(), ''] : [part.slice(0, at).toLowerCase(), part.slice(at + 1)]
    }))
    const value = pair.slice(equals + 1)
    const isPast = attributes['max-age'] === '0' && Date.parse(attributes['expires'] ?? '') < Date.now()
    return { name: pair.slice(0, equals), value, attributes, removed: value === '' && isPast }
  })
}

/** How a host's function fails. `killsBefore` and `killsAfter` end this process: a test of that runs the host in another one. */
export type Fault = 'throws' | 'rejects' | 'hangs' | 'killsBefore' | 'killsAfter'

/** Lets functions of a host fail while a fault is set. */
export interface Faults {
  /** By the name of what fails; `*` for everything. */
  readonly set: Map<string, Fault>
  /** Runs the function, or fails in its place. */
  run<T> (name: string, work: () => T): T
}

/** No power cut ends a process more suddenly. */
function killSelf (): void {
  process.kill(process.pid, 'SIGKILL')
}

/** No faults yet. */
export function faults (): Faults {
  const set = new Map<string, Fault>()
  const down = () => new Error('the database is down: postgres://secret@db')
  return {
    set,
    run (name, work) {
      const fault = set.get(name) ?? set.get('*')
      if (fault === 'throws') throw down()
      if (fault === 'rejects') return Promise.reject(down()) as ReturnType<typeof work>
      if (fault === 'killsBefore') killSelf()
      if (fault === 'killsAfter') Promise.resolve(work()).then(killSelf, killSelf)
      if (fault !== undefined) return new Promise(() => {}) as ReturnType<typeof work>
      return work()
    }
  }
}

/** What a host was told, and what it asked. */
export interface Told {
  readonly events: Array<LogoutEvent<HostSession>>
  readonly onLogout: (event: LogoutEvent<HostSession>) => void
}

/** A listener that remembers. */
export function told (): Told {
  const events: Array<LogoutEvent<HostSession>> = []
  return { events, onLogout: event => { events.push(event) } }
}
