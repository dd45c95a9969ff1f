import { writeSync } from 'node:fs'
import type { Awaitable } from '../../lib/awaitable.ts'
import type { Fault } from '../session-host.ts'
import { kinds } from '../source-hosts.ts'
import { logoutDatabases } from './session-logout-stores.ts'

// A host with sessions of one kind, all of them in one database, which ends at a step of a logout as if the power were cut.
// It says where it listens.
const [name, database, url = '', kill = '{}'] = process.argv.slice(2)
const { step, fault, call = 1 } = JSON.parse(kill) as { readonly step?: string, readonly fault?: Fault, readonly call?: number }

const stores = await logoutDatabases.find(({ name }) => name === database)?.open(url, String(name).replace(/\W/g, '_').slice(0, 20))
if (stores === undefined) throw new Error(`no database ${database}`)
const { marks, sessions, innerStore } = stores
let calls = -1000

const revoke = async (write: () => Awaitable<boolean>) => {
  calls++
  if (step === 'revoke' && calls === call && fault === 'killsBefore') process.kill(process.pid, 'SIGKILL')
  const ended = await write()
  if (step === 'revoke' && calls === call && fault === 'killsAfter') process.kill(process.pid, 'SIGKILL')
  return ended
}

const host = await kinds.find(kind => kind.name === name)?.make({ teardown: () => {} }, {
  revocations: {
    check: credential => marks.check(credential),
    claimOnce: (key, until) => marks.claimOnce(key, until),
    revoke: (...added) => revoke(() => marks.revoke(...added)),
    revokeOnce: (credential, ...added) => revoke(() => marks.revokeOnce(credential, ...added))
  },
  sessionStore: sessions,
  innerStore,
  onLogout: () => { if (step === 'onLogout') process.kill(process.pid, 'SIGKILL') }
})
if (host === undefined) throw new Error(`no host ${name}`)
// A login ends the session before it too: what counts is what the logout calls.
host.app.server.prependListener('request', ({ url }) => {
  if (url !== '/logout') return
  calls = 0
  if (step !== undefined && fault !== undefined && step !== 'revoke') host.broken.set(step, fault)
})
writeSync(1, `${await host.app.listen({ port: 0, host: '127.0.0.1' })}\n`)
