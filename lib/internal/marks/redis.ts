import type { Cutoff } from './cutoff.ts'
import { keyPrefix } from '../databases/redis.ts'

/** The keys of a revocation store in Redis, all in one slot of a cluster. */
export function revocationKeys (prefix = 'logout-revocation', caller: string) {
  const tag = `{${keyPrefix(prefix, caller).slice(0, -1)}}:`
  return { marks: `${tag}marks`, cutoffs: `${tag}cutoffs`, feed: `${tag}feed`, claim: `${tag}claim:` }
}

/** Reads a cutoff as the store's script writes it: at, exceptAt, until, except. */
export function cutoffOfText (text: string): Cutoff {
  const [at, exceptAt, until] = text.split(' ', 3).map(Number) as [number, number, number]
  const except = text.split(' ').slice(3).join(' ')
  return { at, exceptAt, until, except: except === '' ? undefined : except }
}
