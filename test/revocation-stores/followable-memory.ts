import { randomUUID } from 'node:crypto'
import { once, EventEmitter } from 'node:events'
import type { FollowableRevocationStore, Mark, RevocationFeed } from '../../lib/revocation-store.ts'
import { memoryRevocationStore } from '../../lib/revocation-stores/memory.ts'

/** A store in memory that can be followed, with which replicas and rules are tested. */
export function followableMemory (): FollowableRevocationStore {
  const store = memoryRevocationStore()
  const added: Mark[] = []
  const name = randomUUID()
  const news = new EventEmitter().setMaxListeners(0)

  const handOut = (marks: readonly Mark[]) => {
    added.push(...marks.filter(mark => mark.until > Date.now()))
    news.emit('added')
  }
  return {
    ...store,
    async revoke (...marks) {
      const isNews = store.revoke(...marks)
      handOut(marks)
      return isNews
    },
    async revokeOnce (credential, ...marks) {
      const ended = store.revokeOnce(credential, ...marks)
      handOut(marks)
      return ended
    },
    feed: () => memoryFeed(added, name, news)
  }
}

function memoryFeed (added: readonly Mark[], name: string, news: EventEmitter): RevocationFeed {
  let closing = new AbortController()
  return {
    async next (position, timeout) {
      const [history, place] = (position ?? '').split(' ')
      const from = history === name ? Number(place) : 0
      if (from === added.length) {
        const late = new AbortController()
        const timer = setTimeout(() => { late.abort() }, timeout).unref()
        await once(news, 'added', { signal: AbortSignal.any([closing.signal, late.signal]) }).catch(() => {})
        clearTimeout(timer)
      }
      const marks = added.slice(from, from + 20)
      const end = from + marks.length
      return { marks, position: `${name} ${end}`, complete: end === added.length }
    },
    close () {
      closing.abort()
      closing = new AbortController()
    }
  }
}
