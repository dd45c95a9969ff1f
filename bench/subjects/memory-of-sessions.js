// What a million sessions take in memory: in the library's store, and in a Map of the same strings.
import { hash } from 'node:crypto'
import { sessionStore } from './library-stores.js'
import { tokenAt } from './tokens.js'

const hour = 3_600_000

export default function () {
  return {
    run: async ({ keep, count, subjects }) => {
      const make = keeping[keep]
      const now = Date.now()
      const before = used()
      const { add, size } = await make()
      for (let index = 0; index < count; index++) {
        // Strings of their own, as they come out of requests: a text that is joined of others would weigh its parts.
        const [token, id] = [tokenAt(index), tokenAt(index).slice(0, 22)].map(text => Buffer.from(text, 'latin1').toString('latin1'))
        add(token, { id, subject: `user-${index % subjects}`, createdAt: now, expiresAt: now + hour, keepUntil: now + 24 * hour })
      }
      const bytes = (used() - before) / count
      if (size() === undefined) throw new Error('nothing was kept')
      return bytes
    }
  }
}

const keeping = {
  store: async () => {
    const sessions = await sessionStore({ kind: 'memory' })
    return { add: sessions.create, size: () => sessions.find(tokenAt(0)) }
  },
  map: () => {
    const sessions = new Map()
    return {
      add: (token, session) => sessions.set(hash('sha256', token, 'base64url'), { ...session, status: 'active' }),
      size: () => sessions.get(hash('sha256', tokenAt(0), 'base64url'))
    }
  }
}

function used () {
  globalThis.gc()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}
