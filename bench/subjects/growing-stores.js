// What a logout costs a store that keeps a lot: waves of fifty logouts at once, which share a statement where they can.
import { fillSessions } from './filling.js'
import { sessionStore, userStatusStore } from './library-stores.js'
import { inParallel, sessionAt } from './tokens.js'

const wave = 50

export default async function ({ store, keep, ...amounts }) {
  const { create, logOut, isOver } = await keeping[keep](store, amounts)
  let last = 0

  return {
    /** Logs so many out that are logged in beforehand, and resolves the microseconds of CPU time of this process for each. */
    run: async ({ command, calls }) => {
      if (command === 'create') return inParallel(last, calls, create)
      const before = process.cpuUsage()
      for (let from = last; from < last + calls; from += wave) await Promise.all(Array.from({ length: wave }, (_, index) => logOut(from + index)))
      const { user, system } = process.cpuUsage(before)
      last += calls
      if (!await isOver(last - 1)) throw new Error('nobody was logged out')
      return (user + system) / calls
    }
  }
}

const keeping = {
  sessions: async (store, { count, subjects }) => {
    const sessions = await sessionStore(store)
    await fillSessions(sessions, store, { count, subjects })
    const tokenOf = index => `new ${index}`
    const spread = 7919 // not one user after the other, who would be neighbours in every index
    return {
      create: index => sessions.create(tokenOf(index), sessionAt(index, `user-${index * spread % subjects}`)),
      logOut: index => sessions.logOut(tokenOf(index)),
      isOver: async index => (await sessions.find(tokenOf(index))).status === 'logged_out'
    }
  },

  tenants: async (store, { count }) => {
    const users = await userStatusStore(store)
    await inParallel(0, count, index => users.set({ tenant: `tenant-${index}`, subject: 'alice' }, 'logged_in'))
    const userAt = index => ({ tenant: `tenant-${index % count}`, subject: `user-${index}` })
    return {
      create: index => users.set(userAt(index), 'logged_in'),
      logOut: index => users.logOut(userAt(index), { at: Date.now(), requestId: `request-${index}` }),
      isOver: async index => (await users.get(userAt(index))).status === 'logged_out'
    }
  }
}
