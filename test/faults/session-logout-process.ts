import { RedisStore } from 'connect-redis'
import { writeSync } from 'node:fs'
import { createClient } from 'redis'
import type { ProtectableSessionStore } from '../../lib/bridges/express-session.ts'
import { redisRevocationStore } from '../../lib/revocation-stores/redis.ts'
import { redisSessionStore } from '../../lib/session-stores/redis.ts'
import type { Fault } from '../session-host.ts'
import { kinds } from '../source-hosts.ts'

// A host with sessions of one kind, all of them on Redis, which ends at a step of a logout as if the power were cut. It
// says where it listens.
const [name, url = '', kill = '{}'] = process.argv.slice(2)
const { step, fault, call = 1 } = JSON.parse(kill) as { readonly step?: string, readonly fault?: Fault, readonly call?: number }

const client = createClient({ url })
await client.connect()
const prefix = String(name).replace(/\W/g, '-')
const marks = redisRevocationStore(client, { prefix: `${prefix}:marks` })
const sessions = new RedisStore({ client, prefix: `${prefix}:` })
let calls = -1000

const revoke = async (write: () => Promise<boolean>) => {
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
  sessionStore: redisSessionStore(client, { prefix: `${prefix}:sessions` }),
  innerStore: sessions as unknown as ProtectableSessionStore,
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
