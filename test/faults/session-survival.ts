import Fastify from 'fastify'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { kratosLogout } from '../../lib/flows/kratos-native.ts'
import type { SessionStore } from '../../lib/session-store.ts'
import type { PrivateServer } from '../servers/private-process.ts'

const usualTimeout = 1000
/** What a busy machine may add to a timeout. Without one, nothing here would end at all. */
const leeway = 5000
const hour = 3_600_000
/** The body of a 500. */
export const failed = { error: { code: 500, status: 'Internal Server Error' } }

export const tokenOf = (id: string) => `t0ken-5ecret-${id}`

export function create (store: SessionStore, id: string, subject = 'alice') {
  const now = Date.now()
  return store.create(tokenOf(id), { id, subject, createdAt: now, expiresAt: now + hour, keepUntil: now + hour })
}

/** A host with our logout, its sessions in this store. */
export async function host (sessions: SessionStore, timeout = usualTimeout) {
  const app = Fastify({ logger: { level: 'error', stream: { write: line => { logged.push(line) } } } })
  const logged: string[] = []
  const ended: string[] = []
  await app.register(kratosLogout, {
    sessions, timeout, onLogout: event => { if ('session' in event && event.session) ended.push(event.session.id) }
  })
  return {
    ended,
    logged,
    async logOut (id: string) {
      const start = performance.now()
      const answer = await app.inject({ method: 'DELETE', url: '/self-service/logout/api', payload: { session_token: tokenOf(id) } })
      return { status: answer.statusCode, body: answer.body && answer.json(), took: performance.now() - start }
    }
  }
}

type Host = Awaited<ReturnType<typeof host>>

export interface Backend {
  readonly store: SessionStore
  /** A further node: a store on a client of its own. */
  readonly other: SessionStore
  cutConnections (): Promise<unknown>
}

/** What a server must survive with the sessions of a host on it. */
export async function survives (t: Test, server: PrivateServer, { store, other, cutConnections }: Backend) {
  const node = await host(store)
  const idsOf = (from: string, count: number) => Array.from({ length: count }, (_, index) => `${from}-${index}`)
  const everybody = idsOf('session', 600)
  const cut = idsOf('cut', 100)
  await Promise.all([...everybody, ...cut, 'frozen'].map(id => create(store, id)))

  await t.test('frozen: 500 at the timeout, and a retry after the thaw succeeds', async t => {
    server.freeze()
    const late = await node.logOut('frozen')
    server.thaw()
    t.match({ status: late.status, body: late.body }, { status: 500, body: failed })
    t.ok(late.took >= usualTimeout - 5 && late.took < usualTimeout + leeway, `answered after ${late.took} ms`)
    t.equal((await node.logOut('frozen')).status, 204)
    t.equal((await other.find(tokenOf('frozen')))?.status, 'logged_out')
  })

  await t.test('connections cut: every logout that was answered 204 is stored, and reported once', async t => {
    node.ended.length = 0
    const running = cut.map(async (id, index) => {
      await sleep(index)
      return node.logOut(id)
    })
    for (let round = 0; round < 5; round++) {
      await sleep(20)
      await cutConnections()
    }
    const answers = await Promise.all(running)
    t.ok(answers.every(({ status }) => status === 204 || status === 500))
    t.ok(answers.every(({ took }) => took < usualTimeout + leeway))
    const succeeded = cut.filter((_, index) => answers[index]?.status === 204)
    t.ok(succeeded.length > 0)
    t.ok(await allLoggedOut(other, succeeded))
    t.strictSame(succeeded.filter(id => !node.ended.includes(id)), [], `each of ${succeeded.length} was reported`)
    for (const id of cut) t.equal(await until204(node, id), 204)
    t.ok(await allLoggedOut(other, cut))
    t.equal(new Set(node.ended).size, node.ended.length, 'none was reported twice')
  })

  await t.test('killed in the middle of a load, and started again: every 204 is still logged out', async t => {
    const answers = new Map<string, Awaited<ReturnType<Host['logOut']>>>()
    const succeeded = () => everybody.filter(id => answers.get(id)?.status === 204)
    const waiting = [...everybody]
    let killed: Promise<void> | undefined
    await Promise.all(Array.from({ length: 20 }, async () => {
      for (let id = waiting.shift(); id !== undefined; id = waiting.shift()) {
        const answer = await node.logOut(id)
        answers.set(id, answer)
        if (succeeded().length >= 100) killed ??= server.kill()
        if (killed !== undefined && answer.status !== 204) break
      }
    }))
    await killed
    await server.start()

    const refused = [...answers.values()].filter(({ status }) => status !== 204)
    t.ok(refused.length > 0, `${refused.length} failed`)
    for (const { status, body } of refused) t.match({ status, body }, { status: 500, body: failed })
    t.ok([...answers.values()].every(({ took }) => took < usualTimeout + leeway), 'nothing hangs')
    t.equal(await until204(node, 'session-0'), 204, 'the node finds the server again')
    t.ok(await allLoggedOut(other, succeeded()), `${succeeded().length} are still logged out`)
    t.equal((await other.find(tokenOf(String(waiting.at(-1)))))?.status, 'active', 'and nobody else is')
    t.notMatch(node.logged.join(), /5ecret/, 'the log holds no token')
  })

  await t.test('a logout everywhere survives a crash, and the excepted session stays active', async t => {
    for (const id of ['excepted', 'ended']) await create(store, id, 'bob')
    await store.logOutSubject({ subject: 'bob', except: 'excepted' })
    await server.kill()
    await server.start()
    for (let attempt = 0; attempt < 50 && await reading(other) === 'down'; attempt++) await sleep(100)
    t.equal((await other.find(tokenOf('excepted')))?.status, 'active')
    t.equal((await other.find(tokenOf('ended')))?.status, 'logged_out')
    t.strictSame((await other.list({ subject: 'bob', limit: 9 })).map(({ id }) => id), ['excepted'])
  })
}

async function reading (store: SessionStore) {
  return Promise.resolve(store.find('nothing')).catch(() => 'down')
}

export async function until204 ({ logOut }: Host, id: string, attempts = 20): Promise<number> {
  let status = 0
  for (let attempt = 0; attempt < attempts && status !== 204; attempt++) status = (await logOut(id)).status
  return status
}

async function allLoggedOut (store: SessionStore, ids: string[]): Promise<boolean> {
  const found = await Promise.all(ids.map(id => findAgain(store, id)))
  return found.every(session => session?.status === 'logged_out')
}

/** The pool of the reader may still hold connections that were cut. */
async function findAgain (store: SessionStore, id: string, attempts = 5): Promise<Awaited<ReturnType<SessionStore['find']>>> {
  try {
    return await store.find(tokenOf(id))
  } catch (error) {
    if (attempts === 0) throw error
    await sleep(50)
    return findAgain(store, id, attempts - 1)
  }
}

export function filesHold (directory: string, text: string): boolean {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .map(name => join(directory, name)).filter(path => statSync(path).isFile())
    .some(path => readFileSync(path).includes(text))
}
