// What a server costs: the time that its processes and threads had a processor.
import { existsSync, readdirSync, readFileSync } from 'node:fs'

/** Whether that can be read here. */
export const canReadUsage = existsSync('/proc/self/schedstat')

/** CPU time of a process, its threads and its children so far, in microseconds. Children that have ended do not count. */
export function usageOf (pid) {
  const family = [pid, ...childrenOf(pid)]
  return family.reduce((sum, one) => sum + usageOfOne(one), 0)
}

function childrenOf (pid) {
  return readdirSync('/proc').filter(name => /^\d+$/.test(name) && parentOf(name) === pid)
}

function parentOf (pid) {
  try {
    const [, parent] = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ')
    return Number(parent)
  } catch {
    return undefined
  }
}

function usageOfOne (pid) {
  try {
    return readdirSync(`/proc/${pid}/task`).reduce((sum, thread) => sum + usageOfThread(pid, thread), 0)
  } catch {
    return 0
  }
}

/** CPU time of one thread of a process so far, in microseconds: of its main thread, unless another one is named. */
export function usageOfThread (pid, thread = pid) {
  return Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]) / 1000
}

/**
 * What a server used while work was done, of how many microseconds; nothing where there is no server. Of its children those
 * count that are still there.
 */
export async function usageWhile (pid, work) {
  const begun = performance.now()
  const before = usages(pid)
  const result = await work()
  const after = usages(pid)
  const cpu = [...after].reduce((sum, [one, used]) => sum + used - (before.get(one) ?? 0), 0)
  return { cpu, microseconds: (performance.now() - begun) * 1000, result }
}

/** Of each process of a server. */
function usages (pid) {
  return new Map(pid === undefined ? [] : [pid, ...childrenOf(pid)].map(one => [one, usageOfOne(Number(one))]))
}
