import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'

/** What is counted: user-mode instructions, or another event of `perf list`. */
const event = process.env.BENCH_PERF_EVENT ?? 'instructions:u'

/** Whether `perf stat` counts instructions on this machine. */
export const canCount = read(spawnSync('perf', ['stat', '-x', ',', '-e', event, '--', process.execPath, '--version'], { encoding: 'utf8' }).stderr) !== undefined

/** Counts the instructions of a process until asked for them; `undefined` where they cannot be counted. */
export async function countInstructions (pid) {
  if (!canCount) return async () => undefined
  const perf = spawn('perf', ['stat', '-x', ',', '-e', event, '-p', String(pid)], { stdio: ['ignore', 'ignore', 'pipe'] })
  let output = ''
  perf.stderr.setEncoding('utf8').on('data', (chunk) => { output += chunk })
  await new Promise(resolve => setTimeout(resolve, 50))
  return async () => {
    perf.kill('SIGINT')
    await once(perf, 'close')
    return read(output)
  }
}

/** The count in the output of `perf stat -x ,`; `undefined` for `<not supported>`. */
function read (output) {
  const line = output?.split('\n').find(line => line.includes(event))
  const count = Number.parseFloat(line ?? '')
  return Number.isFinite(count) ? count : undefined
}
