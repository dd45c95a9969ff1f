import { execFileSync } from 'node:child_process'

/** The ids of the first of these users that exists, for database servers, which refuse to run as root. */
export function unprivileged (names: readonly string[]): { uid: number, gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  const user = names.find(name => idOf('-u', name) !== undefined)
  if (user === undefined) throw new Error(`the server does not run as root: there is no user ${names.join(' or ')}`)
  return { uid: idOf('-u', user) ?? 0, gid: idOf('-g', user) ?? 0 }
}

function idOf (which: '-u' | '-g', user: string): number | undefined {
  try {
    return Number(execFileSync('id', [which, user], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }))
  } catch {
    return undefined
  }
}
