// Many callers that revoke at once, and one that checks meanwhile.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { median, quantile } from '../statistics.js'
import { revocationStore } from './library-stores.js'

const hour = 3_600_000

export default async function ({ store }) {
  const own = await revocationStore(store)
  const until = Date.now() + hour
  return {
    run: async ({ callers, seconds }) => {
      const end = performance.now() + seconds * 1000
      const checks = []
      let revoked = 0
      const revoking = Array.from({ length: callers }, async () => {
        for (; performance.now() < end; revoked++) await own.revoke({ tokenId: randomUUID(), until })
      })
      const checking = async () => {
        while (performance.now() < end) {
          const begun = performance.now()
          await own.check({ tokenId: 'x', sessionId: 'x', subject: 'x', issuedAt: 1 })
          checks.push(performance.now() - begun)
          await sleep(5)
        }
      }
      const begun = performance.now()
      await Promise.all([...revoking, checking()])
      return { perSecond: revoked / (performance.now() - begun) * 1000, check: { p50: median(checks), p99: quantile(checks, 0.99) } }
    }
  }
}
