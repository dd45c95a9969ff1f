// Logging out every session of one subject, by the number of its sessions.
import { setTimeout as sleep } from 'node:timers/promises'
import { sessionStore } from './library-stores.js'
import { sessionAt, tokenAt } from './tokens.js'

export default async function ({ store, prefix }) {
  const sessions = await sessionStore(store)
  let last = 0

  return {
    run: async ({ count, repeat }) => {
      const times = []
      for (let turn = 0; turn < repeat; turn++) times.push(await once(`${prefix}-${count}-${turn}`, count))
      return times
    }
  }

  async function once (subject, count) {
    for (let from = 0; from < count; from += 100) {
      await Promise.all(Array.from({ length: Math.min(100, count - from) }, () => {
        last += 1
        return sessions.create(`${prefix} ${tokenAt(last)}`, { ...sessionAt(last, subject), id: `${prefix}-${last}` })
      }))
    }
    await sleep(20) // until the servers have done what the logins left behind
    const begin = performance.now()
    await sessions.logOutSubject({ subject })
    const took = performance.now() - begin
    if ((await sessions.find(`${prefix} ${tokenAt(last)}`)).status !== 'logged_out') throw new Error('the subject is still logged in')
    return took
  }
}
