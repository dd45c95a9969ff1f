import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { withPrivateRedis } from '../servers/redis.ts'
import { setCookies, type Fault } from '../session-host.ts'
import { kinds, type SourceKind } from '../source-hosts.ts'

// The host's own process ends between two steps of a logout; its sessions and marks are on Redis.

/** Where a process ends: the step that it calls, before or after it, at the first or second call. */
interface Death {
  readonly step: string
  readonly fault: Fault
  readonly call?: number
}

interface Node {
  readonly address: string
  /** Resolves once the process has ended. */
  readonly ended: Promise<unknown>
  end (): void
}

/** Starts a host in a process of its own, which kills itself at this step. */
async function startNode (t: Test, { name }: SourceKind, url: string, death?: Death): Promise<Node> {
  const script = fileURLToPath(new URL('./session-logout-process.ts', import.meta.url))
  const child = spawn(process.execPath, [...process.execArgv, script, name, url, JSON.stringify(death ?? {})], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(() => { child.kill('SIGKILL') })
  const ended = once(child, 'exit')
  const [line] = await once(child.stdout, 'data')
  return { address: String(line).trim(), ended, end: () => { child.kill('SIGKILL') } }
}

/** A device with cookies that outlives the nodes. */
class Client {
  readonly cookies = new Map<string, string>()

  async send ({ address }: Node, path: string, fields?: object) {
    const response = await fetch(`${address}${path}`, {
      method: path === '/me' ? 'GET' : 'POST',
      headers: {
        'x-forwarded-proto': 'https',
        cookie: Array.from(this.cookies, ([name, value]) => `${name}=${value}`).join('; '),
        ...(fields !== undefined && { 'content-type': 'application/json' })
      },
      ...(fields !== undefined && { body: JSON.stringify(fields) })
    })
    await response.text()
    for (const { name, value, removed } of setCookies({ headers: { 'set-cookie': response.headers.getSetCookie() } })) {
      if (removed) this.cookies.delete(name)
      else this.cookies.set(name, value)
    }
    return response.status
  }

  copy () {
    const copy = new Client()
    for (const [name, value] of this.cookies) copy.cookies.set(name, value)
    return copy
  }
}

const deaths: readonly Death[] = [
  ...['logOut', 'logOutSubject', 'revoke', 'store.destroy'].flatMap(step => [
    { step, fault: 'killsBefore' as const }, { step, fault: 'killsAfter' as const }
  ]),
  { step: 'revoke', fault: 'killsBefore', call: 2 },
  { step: 'revoke', fault: 'killsAfter', call: 2 },
  { step: 'onLogout', fault: 'killsBefore' }
]
/** One of each source: which steps it has, for `current` and for `all`. */
const nodes: ReadonlyArray<readonly [name: string, steps: readonly string[]]> = [
  ['a session store', ['logOut', 'logOutSubject', 'onLogout']],
  ['@fastify/session at its defaults', ['revoke', 'store.destroy', 'onLogout']],
  ['@fastify/secure-session', ['revoke', 'onLogout']],
  ['JWTs in cookies', ['revoke', 'onLogout']]
]

t.test('T4: a process is killed between any two steps, and the retry elsewhere finishes', t => withPrivateRedis(t, async ({ url }) => {
  for (const [name, steps] of nodes) {
    const kind = kinds.find(kind => kind.name === name)
    if (kind === undefined) throw new Error(`there is no ${name}`)
    const survivor = await startNode(t, kind, url)
    let killed = 0
    for (const death of deaths.filter(({ step }) => steps.includes(step))) {
      for (const scope of ['current', 'all']) {
        const isReached = scope === 'all' || (death.step !== 'logOutSubject' && death.call !== 2)
        if (!isReached) continue
        const what = `${name}: ${scope}, ${JSON.stringify(death)}`
        const node = await startNode(t, kind, url, death)
        const user = `alice-${killed}-${name.length}`
        const [laptop, phone] = [new Client(), new Client()]
        for (const client of [laptop, phone]) t.equal(await client.send(node, '/login', { user }), 200, what)
        await sleep(2)
        const before = laptop.copy()
        await t.rejects(laptop.send(node, '/logout', { scope }), what)
        await node.ended
        killed++
        t.strictSame(laptop.cookies, before.cookies, `${what}: nothing was answered`)

        const status = await laptop.send(survivor, '/logout', { scope })
        // What had ended the session before the answer: it is not live any more, so `all` cannot be asked again.
        t.ok(status === 204 || (scope === 'all' && status === 401), `${what}: the retry, ${status}`)
        t.equal(laptop.cookies.size, 0, `${what}: the cookies are cleared`)
        t.equal(await before.send(survivor, '/me'), 401, `${what}: the session has ended`)
        t.equal(await phone.send(survivor, '/me'), scope === 'all' ? 401 : 200, `${what}: the other device`)
      }
    }
    survivor.end()
    t.ok(killed >= 5, `${name}: ${killed} processes were killed`)
  }
}))
