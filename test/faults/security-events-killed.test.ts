import { spawn } from 'node:child_process'
import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { signJwt } from '../sign-jwt.ts'
import { endpointUrl, sender, startNode, steps, type Death, type SharedFiles } from './security-events-node.ts'

// The host's own process ends between two steps of a command or an event. The sender sends the same request to another node.

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const seconds = () => Math.floor(Date.now() / 1000)
const minute = 60_000

interface Message {
  readonly url: string
  readonly headers: Record<string, string>
  readonly body: string
  readonly status: number
}

function command (): Message {
  const now = seconds()
  const claims = { jti: randomUUID(), iss: sender.issuer, sub: sender.clientId, aud: endpointUrl, iat: now, nbf: now - 300, exp: now + 800 }
  const token = signJwt(privateKey, 'RS256', claims, { typ: 'global-token-revocation+jwt' })
  return {
    url: '/global-token-revocation',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: '{"sub_id":{"format":"opaque","id":"alice"}}',
    status: 204
  }
}

/** An event that happens when it is received, or one that happened ten minutes ago. */
function event (isLate = false): Message {
  const now = seconds()
  const instant = isLate ? now - 600 : now + 3600
  const type = 'https://schemas.openid.net/secevent/caep/event-type/session-revoked'
  const claims = {
    jti: randomUUID(),
    iss: sender.issuer,
    aud: 'us',
    iat: isLate ? now - 600 : now,
    sub_id: { format: 'opaque', id: 'alice' },
    events: { [type]: { event_timestamp: instant } }
  }
  return {
    url: '/security-events',
    headers: { 'content-type': 'application/secevent+jwt' },
    body: signJwt(privateKey, 'RS256', claims, { typ: 'secevent+jwt' }),
    status: 202
  }
}

/** Sends a message to a node that ends its own process meanwhile. */
async function sendToVictim (t: Test, files: SharedFiles, death: Death, { url, headers, body }: Message): Promise<void> {
  const script = fileURLToPath(new URL('./security-events-node.ts', import.meta.url))
  const child = spawn(process.execPath, [...process.execArgv, script, JSON.stringify(files), JSON.stringify(death)], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(() => { child.kill('SIGKILL') })
  const ended = once(child, 'exit')
  const [line] = await once(child.stdout, 'data')
  await t.rejects(fetch(`${String(line).trim()}${url}`, { method: 'POST', headers, body }))
  t.strictSame(await ended, [null, 'SIGKILL'])
}

t.setTimeout(1_800_000)

const messages = {
  'a command': { make: command, steps: steps.filter(step => step !== 'onEvent'), old: 0 },
  'an event': { make: () => event(), steps: steps.filter(step => step !== 'revokeRefreshTokens'), old: 0 },
  'a late event': { make: () => event(true), steps: ['sessions', 'remember'], old: 20 * minute }
}

for (const [name, { make, steps, old }] of Object.entries(messages)) {
  t.test(`D2: ${name} is killed at each step, and the same request elsewhere finishes`, async t => {
    for (const step of steps) {
      for (const when of ['before', 'after'] as const) await killedAt(t, make(), { death: { step, when }, old })
    }
  })
}

async function killedAt (t: Test, message: Message, { death, old }: { readonly death: Death, readonly old: number }): Promise<void> {
  const directory = t.testdir()
  const files = {
    database: `${directory}/${randomUUID()}.sqlite`,
    told: `${directory}/${randomUUID()}`,
    publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString()
  }
  const what = `${death.when} ${death.step}`
  const { app, database, sessions, revocations } = await startNode(files)
  for (const subject of ['alice', 'bob']) {
    database.prepare('INSERT INTO refresh_token VALUES (?)').run(subject)
    for (const number of [1, 2, 3]) {
      const id = `${subject}-${number}`
      const createdAt = Date.now() - old
      sessions.create(id, { id, subject, createdAt, expiresAt: Date.now() + 60 * minute, keepUntil: Date.now() + 60 * minute })
    }
  }
  await sendToVictim(t, files, death, message)

  const send = () => app.inject({ method: 'POST', url: message.url, headers: message.headers, payload: message.body })
  t.equal((await send()).statusCode, message.status, `${what}: the retry`)
  const live = (subject: string) => sessions.list({ subject, limit: 9 }).length
  t.equal(live('alice'), 0, `${what}: every session has ended`)
  t.equal(live('bob'), 3, `${what}: nobody else is touched`)
  t.equal(revocations.check({ subject: 'alice', issuedAt: Date.now() - old - minute }), 'revoked', `${what}: tokens are revoked`)
  t.equal(revocations.check({ subject: 'bob', issuedAt: Date.now() - old - minute }), 'live')
  const left = database.prepare('SELECT subject FROM refresh_token').all()
  t.strictSame(left.length, message.status === 204 ? 1 : 2, `${what}: refresh tokens`)
  t.ok(tellings(files) <= (old > 0 ? 2 : 1), `${what}: each end is told once at most`)
  const before = tellings(files)
  t.equal((await send()).statusCode, message.status, `${what}: a repeat`)
  t.equal(tellings(files), before)
  await app.close()
}

function tellings ({ told }: SharedFiles): number {
  return existsSync(told) ? readFileSync(told, 'utf8').split('\n').length - 1 : 0
}
