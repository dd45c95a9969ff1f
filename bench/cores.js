import { spawnSync } from 'node:child_process'
import { availableParallelism } from 'node:os'

/** Servers run on one core; the load and the databases on the other. */
export const serverCore = 0
export const loadCore = 1

/** Whether processes can be tied to cores here. */
export const canPin = availableParallelism() >= 2 && spawnSync('taskset', ['-cp', String(process.pid)]).status === 0

/** Ties a process, with all its threads, to a core. Without `taskset`, or with a single core, does nothing. */
export function pin (pid, core) {
  if (canPin) spawnSync('taskset', ['-acp', String(core), String(pid)])
}
