// What a check and a revocation cost while a store has many marks: fifty callers, each with one call after the other.
import { randomUUID } from 'node:crypto'
import { revocationStore } from './library-stores.js'
import { fillMarks } from './loading-marks.js'

const day = 86_400_000
const callers = 50

export default async function ({ store, marks }) {
  const revocations = await revocationStore(store)
  if (store.kind === 'memory' || store.kind === 'sqlite') await fillMarks(revocations, store, marks)
  await revocations.revoke({ tokenId: 'revoked', until: Date.now() + day })
  if (await revocations.check({ tokenId: 'revoked' }) !== 'revoked') throw new Error('the store does not find a mark')

  return {
    /** Resolves the microseconds of CPU time of this process for each call. */
    run: async ({ command, calls }) => {
      const call = commands[command](revocations)
      const before = process.cpuUsage()
      await Promise.all(Array.from({ length: callers }, async () => {
        for (let made = 0; made < calls / callers; made++) await call()
      }))
      const { user, system } = process.cpuUsage(before)
      return (user + system) / calls
    }
  }
}

const commands = {
  check: revocations => () => revocations.check({ tokenId: randomUUID(), subject: 'alice', issuedAt: Date.now() }),
  revoke: revocations => () => revocations.revoke({ tokenId: randomUUID(), until: Date.now() + day })
}
