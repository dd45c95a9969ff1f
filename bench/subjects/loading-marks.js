// A replica that loads many marks: its CPU time, and how long it holds up the event loop.
import { revocationReplica } from '../../dist/index.js'
import { canReadUsage, usageOfThread } from '../server-usage.js'
import { openClient } from './clients.js'
import { withoutIndexes } from './filling.js'
import { revocationStore } from './library-stores.js'
import { tokenAt } from './tokens.js'

const day = 86_400_000
/** Of a replica that has not loaded after ten minutes nothing is measured. */
const patience = 600_000

export default async function ({ store }) {
  const own = await revocationStore(store)
  return {
    run: async ({ command, ...values }) => commands[command](own, { ...values, store })
  }
}

const commands = {
  fill: async (own, { marks, store }) => fillMarks(own, store, marks),

  load: async own => {
    const replica = revocationReplica(own, { maxStaleness: patience })
    const begun = performance.now()
    const before = process.cpuUsage()
    await replica.start()
    const { user, system } = process.cpuUsage(before)
    const milliseconds = performance.now() - begun
    if (replica.staleness() > patience) throw new Error('the replica did not load')
    const { bytes } = replica.size()
    await replica.close()
    return { milliseconds, cpu: (user + system) / 1000, bytes }
  },

  // In a process of its own: looking costs time too.
  watchLoading: async own => {
    const replica = revocationReplica(own, { maxStaleness: patience })
    const pauses = pausesOf()
    await replica.start()
    const longest = await pauses.end()
    await replica.close()
    return { longest }
  }
}

/** Puts so many marks into a store. */
export async function fillMarks (own, store, marks) {
  await (filling[store.kind] ?? filling.calls)(own, marks, store)
}

const filling = {
  calls: async (own, marks) => {
    const until = Date.now() + day
    for (let from = 0; from < marks; from += 10_000) {
      await own.revoke(...Array.from({ length: Math.min(10_000, marks - from) }, (_, index) => ({ tokenId: tokenAt(from + index), until: until + from + index })))
    }
  },

  // As many rows as `revoke` would make, without millions of calls of its function.
  postgres: async (_own, marks, store) => {
    const pool = await openClient(store)
    await withoutIndexes(pool, 'logout_revocation', connection => connection.query(`INSERT INTO logout_revocation
      SELECT 't' || md5('a' || nth) || left(md5('b' || nth), 11), '', '', '', ${Number.MAX_SAFE_INTEGER}, ${Date.now() + day} + nth, pg_current_xact_id()
      FROM generate_series(1, ${marks}) AS nth`))
    await pool.query('VACUUM (ANALYZE) logout_revocation')
    await pool.query('CHECKPOINT')
    await pool.end()
  }
}

/**
 * The longest time for which the event loop did not turn, as a timer of every millisecond sees it. It counts the time that this
 * thread had a processor: what other processes take from it, and threads that collect garbage beside it, hold nothing up.
 */
function pausesOf () {
  let longest = 0
  let last = performance.now()
  let lastUsed = usageOfMainThread()
  const timer = setInterval(() => {
    longest = Math.max(longest, Math.min(performance.now() - last, (usageOfMainThread() - lastUsed) / 1000))
    last = performance.now()
    lastUsed = usageOfMainThread()
  }, 1)
  return {
    end: async () => {
      await new Promise(resolve => setTimeout(resolve, 10))
      clearInterval(timer)
      return longest
    }
  }
}

/** In microseconds. Where that cannot be read, what all threads used. */
function usageOfMainThread () {
  // Linux counts the time of a thread that runs only now and then, every 4 ms for example, or when the thread asks like this.
  const { user, system } = process.cpuUsage()
  return canReadUsage ? usageOfThread(process.pid) : user + system
}
