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
    const threads = readdirSync(`/proc/${pid}/task`)
    return threads.reduce((sum, thread) => sum + Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]) / 1000, 0)
  } catch {
    return 0
  }
}
