// The longest pause while a million marks run out under steady checks.
import { revocationStore } from './library-stores.js'
import { tokenAt } from './tokens.js'

export default async function ({ marks, seconds }) {
  const revocations = await revocationStore({ kind: 'memory' })
  return {
    run: async () => {
      const tokens = Array.from({ length: marks }, (_, index) => tokenAt(index))
      const begin = Date.now() + 2000
      for (let index = 0; index < marks; index += 100) {
        revocations.revoke(...tokens.slice(index, index + 100).map((tokenId, place) => ({ tokenId, until: begin + (index + place) % (seconds * 1000) })))
      }
      globalThis.gc()
      return longestCall(revocations, begin + seconds * 1000 + 1000)
    }
  }
}

/** In milliseconds of this thread's work alone: what other processes take from it does not count. */
async function longestCall (revocations, end) {
  let longest = 0
  let calls = 0
  while (Date.now() < end) {
    for (let call = 0; call < 100; call++, calls++) {
      const before = process.cpuUsage()
      if (calls % 10 === 0) revocations.revoke({ tokenId: tokenAt(-calls), until: Date.now() + 60_000 })
      else revocations.check({ tokenId: tokenAt(calls) })
      const { user, system } = process.cpuUsage(before)
      longest = Math.max(longest, (user + system) / 1000)
    }
    await new Promise(resolve => setImmediate(resolve))
  }
  return { milliseconds: longest, calls }
}
