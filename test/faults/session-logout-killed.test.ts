import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { setCookies, type Fault } from '../session-host.ts'
import { kinds, type SourceKind } from '../source-hosts.ts'
import { logoutDatabases } from './session-logout-stores.ts'

// The host's own process ends between two steps of a logout. Its sessions and marks are in a database.

/** Where a process ends: the step that it calls, before or after it, at the first or second call. */
interface Death {
  readonly step: string
  readonly fault: Fault
  readonly call?: number
}

interface Node {
  readonly address: string
  /** Where it ends. */
  readonly death: string
  /** Resolves once the process has ended. */
  readonly ended: Promise<unknown>
  end (): void
}

/** Where the host keeps its sessions and marks. */
interface Place {
  readonly database: string
  readonly url: string
}

/** Starts a host in a process of its own, which kills itself at this step. */
async function startNode (t: Test, { name }: SourceKind, { database, url }: Place, death?: Death): Promise<Node> {
  const script = fileURLToPath(new URL('./session-logout-process.ts', import.meta.url))
  const child = spawn(process.execPath, [...process.execArgv, script, name, database, url, JSON.stringify(death ?? {})], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(() => { child.kill('SIGKILL') })
  const ended = once(child, 'exit')
  const notStarted = ended.then(() => { throw new Error(`${database}, ${name}: the host did not start`) })
  const [line] = await Promise.race([once(child.stdout, 'data'), notStarted])
  notStarted.catch(() => {})
  return {
    address: String(line).trim(),
    death: `${database}, ${name}, ${JSON.stringify(death)}`,
    ended,
    end: () => { child.kill('SIGKILL') }
  }
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

/** One host for each source: where it ends while it logs out, for each scope. */
const deaths: ReadonlyArray<readonly [name: string, byScope: Readonly<Record<string, readonly Death[]>>]> = [
  ['a session store', {
    current: [{ step: 'logOut', fault: 'killsBefore' }, { step: 'logOut', fault: 'killsAfter' }],
    all: [{ step: 'logOutSubject', fault: 'killsAfter' }, { step: 'logOut', fault: 'killsAfter' }]
  }],
  ['@fastify/session at its defaults', {
    current: [
      { step: 'revoke', fault: 'killsBefore' }, { step: 'revoke', fault: 'killsAfter' }, { step: 'store.destroy', fault: 'killsAfter' }
    ],
    all: [
      { step: 'revoke', fault: 'killsAfter' }, { step: 'revoke', fault: 'killsAfter', call: 2 }, { step: 'onLogout', fault: 'killsBefore' }
    ]
  }],
  ...['@fastify/secure-session', 'JWTs in cookies'].map(name => [name, {
    current: [{ step: 'revoke', fault: 'killsBefore' }, { step: 'revoke', fault: 'killsAfter' }],
    all: [{ step: 'revoke', fault: 'killsAfter' }, { step: 'revoke', fault: 'killsAfter', call: 2 }]
  }] as const)
]

t.setTimeout(1_800_000)

for (const { name: database, withOwn } of logoutDatabases) {
  const title = `T4: a process is killed between any two steps, and the retry elsewhere finishes: ${database}`
  t.test(title, t => withOwn(t, async ({ url }) => {
    for (const [name, byScope] of deaths) {
      const kind = kinds.find(kind => kind.name === name)
      if (kind === undefined) throw new Error(`there is no ${name}`)
      const survivor = await startNode(t, kind, { database, url })
      for (const [scope, points] of Object.entries(byScope)) {
        for (const death of points) await logOutTwice(t, { survivor, node: await startNode(t, kind, { database, url }, death), scope })
      }
      survivor.end()
      await survivor.ended
    }
  }))
}

/** Logs out at a node that is killed meanwhile, and again at one that survives. */
async function logOutTwice (t: Test, { survivor, node, scope }: { readonly survivor: Node, readonly node: Node, readonly scope: string }) {
  const user = randomUUID()
  const [laptop, phone] = [new Client(), new Client()]
  for (const client of [laptop, phone]) t.equal(await client.send(node, '/login', { user }), 200, node.death)
  await sleep(2)
  const before = laptop.copy()
  await t.rejects(laptop.send(node, '/logout', { scope }), `${scope}: ${node.death}`)
  await node.ended
  t.strictSame(laptop.cookies, before.cookies, `${node.death}: nothing was answered`)

  const status = await laptop.send(survivor, '/logout', { scope })
  // Without a live session, which the first call may have ended, `all` clears the cookies and is a 401.
  t.ok(status === 204 || (scope === 'all' && status === 401), `${node.death}: the retry, ${status}`)
  t.equal(laptop.cookies.size, 0, `${node.death}: the cookies are cleared`)
  t.equal(await before.send(survivor, '/me'), 401, `${node.death}: the session has ended`)
  t.equal(await phone.send(survivor, '/me'), scope === 'all' ? 401 : 200, `${node.death}: the other device`)
}
