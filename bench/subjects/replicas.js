// So many replicas of one store, each with a client of its own as on a node of its own, and one more node that revokes.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { revocationReplica } from '../../dist/index.js'
import { revocationStore } from './library-stores.js'

const hour = 3_600_000

export default async function ({ store, count }) {
  const writer = await revocationStore(store)
  const until = Date.now() + hour
  const heard = new Map()
  for (let index = 0; index < count; index++) {
    const replica = revocationReplica(await revocationStore(store))
    replica.onRevoked(mark => heard.get(mark.tokenId)?.())
    await replica.start()
  }

  /** Revokes, and resolves to the milliseconds until each replica knew it, from the call on. */
  async function revoke () {
    const tokenId = randomUUID()
    const begun = performance.now()
    const delays = []
    const known = new Promise(resolve => {
      heard.set(tokenId, () => { if (delays.push(performance.now() - begun) === count) resolve() })
    })
    await writer.revoke({ tokenId, until })
    if (count > 0) await known
    heard.delete(tokenId)
    return delays
  }

  return {
    /** Some marks with pauses, one after the other, or several at once. */
    run: async ({ marks, pause, together = 1 }) => {
      const delays = []
      for (let index = 0; index < marks; index += together) {
        delays.push(...(await Promise.all(Array.from({ length: together }, revoke))).flat())
        await sleep(pause)
      }
      return delays
    }
  }
}
