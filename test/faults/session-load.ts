import type { Test } from 'tap'
import type { SessionStore } from '../../lib/session-store.ts'
import { create, host, tokenOf } from './session-survival.ts'

export interface Nodes {
  readonly name: string
  readonly store: SessionStore
  /** A further node: a store on a client of its own. */
  readonly other: SessionStore
  move (): Promise<void>
}

/** Logs in and out while something moves. Whatever was answered is compared with what a further node sees afterwards. */
export async function loseNothing (t: Test, { name, store, other, move }: Nodes) {
  const node = await host(store, 10_000)
  const idsOf = (from: string, count: number) => Array.from({ length: count }, (_, index) => `${name}-${from}-${index}`)
  const [ending, live, gone] = [idsOf('ending', 4000), idsOf('live', 400), idsOf('gone', 600)]
  await inTurn([...ending, ...live], (id, index) => create(store, id, `${name} subject ${index % 2000} of ${id.includes('live')}`))
  await inTurn(gone, (id, index) => create(store, id, `${name} gone ${index % 300}`))
  await store.logOutSubject({ subject: `${name} gone 299` })

  const seen = {
    moving: true, ended: [] as string[], refused: [] as unknown[], mistaken: [] as unknown[], failed: [] as string[], untold: 0
  }
  const subjectsEnded = [299]
  const untold = () => { seen.untold++ }
  const logOutAll = async () => {
    for (let id = ending.shift(); id !== undefined && seen.moving; id = ending.shift()) {
      const { status } = await node.logOut(id)
      if (status === 204) seen.ended.push(id)
      else if (status !== 500) seen.refused.push([id, status])
      else seen.failed.push(id)
    }
  }
  const logOutSubjects = async () => {
    for (let subject = 0; subject < 299 && seen.moving; subject++) {
      await Promise.resolve(store.logOutSubject({ subject: `${name} gone ${subject}` })).then(() => { subjectsEnded.push(subject) }, untold)
    }
  }
  const readLive = async () => {
    for (let index = 0; seen.moving; index++) {
      const id = live[index % live.length] as string
      const found = await Promise.resolve(other.find(tokenOf(id))).catch(untold)
      if (found !== undefined && found.status !== 'active') seen.mistaken.push([id, found.status])
    }
  }
  const logIn = async () => {
    for (let index = 0; seen.moving; index++) {
      const id = `${name}-new-${index}`
      await Promise.resolve(create(store, id, `${name} new ${index}`)).then(() => { live.push(id) }, untold)
    }
  }
  const moved = move().finally(() => { seen.moving = false })
  await Promise.all([moved, ...Array.from({ length: 8 }, logOutAll), logOutSubjects(), readLive(), logIn()])

  const later = gone.filter((_, index) => subjectsEnded.includes(index % 300))
  const failed = seen.untold + seen.failed.length
  t.comment(`${seen.ended.length} logouts, ${subjectsEnded.length} of subjects, ${live.length} live sessions, ${failed} calls failed`)
  t.ok(seen.ended.length > 100 && subjectsEnded.length > 20, 'there was a load')
  t.ok(seen.untold + seen.failed.length < 20, 'and nearly every call had an answer')
  t.strictSame(seen.refused, [], 'no live session is refused')
  t.strictSame(seen.mistaken, [], 'no live session is taken for another')
  t.strictSame(await notIn('logged_out', other, [...seen.ended, ...later]), [], 'what was answered is logged out')
  t.strictSame(await notIn('active', other, live), [], 'and nobody else is')
  const reported = node.ended.filter(id => !seen.failed.includes(id))
  t.strictSame(reported.toSorted(), seen.ended.toSorted(), 'each logout was reported once')
  t.equal(new Set(node.ended).size, node.ended.length, 'and those that failed at most once')
}

/** A hundred at once. */
export async function inTurn<T> (items: readonly T[], act: (item: T, index: number) => unknown): Promise<void> {
  for (let from = 0; from < items.length; from += 100) {
    await Promise.all(items.slice(from, from + 100).map((item, index) => act(item, from + index)))
  }
}

async function notIn (status: string, store: SessionStore, ids: readonly string[]): Promise<string[]> {
  const others: string[] = []
  await inTurn(ids, async id => {
    if ((await store.find(tokenOf(id)))?.status !== status) others.push(id)
  })
  return others
}
