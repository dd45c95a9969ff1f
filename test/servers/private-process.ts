import { execFileSync, spawn } from 'node:child_process'
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** A server of our own: nobody else uses it, so a test may kill it. */
export interface PrivateServer {
  readonly url: string
  readonly port: number
  readonly directory: string
  /** Starts it again on the same data and port, and waits until it answers. */
  start (): Promise<void>
  /** Ends it in an orderly way; its data stay until the test ends. */
  stop (): Promise<void>
  /** Ends it with SIGKILL, child processes included. */
  kill (): Promise<void>
  /** Stops it with SIGSTOP, and returns once it has stopped: connections stay open, and nobody answers. */
  freeze (): void
  thaw (): void
  /**
   * From now on none of its files grows beyond so many bytes: it is told so as it is told of a full disk. Without a number
   * they may grow again. On Linux only.
   */
  limitFiles (bytes?: number): void
  /** What it wrote on its standard error and output since it was first started. */
  log (): string
}

export interface PrivateServerSetup {
  readonly name: string
  readonly command: string
  readonly args: (place: Place) => string[]
  readonly url: (port: number) => string
  /** Rejects as long as the server does not answer. */
  readonly ping: (port: number) => Promise<void>
  readonly prepare?: (place: Place) => void
  readonly stopSignal: NodeJS.Signals
  readonly identity?: { readonly uid: number, readonly gid: number } | undefined
}

export interface Place {
  readonly directory: string
  readonly port: number
}

/** The program's path, searched in PATH and in the further folders. */
export function findProgram (name: string, folders: readonly string[] = []): string | undefined {
  return findFirst([name], folders)
}

/** The first folder of PATH with one of the programs decides, and there the first of the names. */
export function findFirst (names: readonly string[], folders: readonly string[] = []): string | undefined {
  const everywhere = [...(process.env['PATH'] ?? '').split(delimiter), ...folders]
  return everywhere.flatMap(folder => names.map(name => join(folder, name))).find(existsSync)
}

/** What to give as tap's `skip`. A test that cannot run is a failure where `CI` is set. */
export function missing (whatToInstall: string): string {
  if (process.env['CI'] !== undefined) throw new Error(whatToInstall)
  return whatToInstall
}

/** Starts a server in a directory of its own, on a free port of 127.0.0.1. It ends with this process, however that ends. */
export async function startPrivateServer (setup: PrivateServerSetup): Promise<PrivateServer & { remove (): Promise<void> }> {
  const directory = mkdtempSync(join(tmpdir(), `fastify-logout-${setup.name}-`))
  const port = await freePort()
  setup.prepare?.({ directory, port })
  const logFile = join(directory, 'server.log')
  let running: ReturnType<typeof run> | undefined

  async function start () {
    running = run(setup, { directory, port }, logFile)
    for (let attempt = 0; attempt < 1000; attempt++) {
      if (running.ended()) break
      const refused = await setup.ping(port).catch((error: unknown) => error)
      if (refused === undefined) return
      await sleep(10)
    }
    await running.end('SIGKILL')
    throw new Error(`${setup.name} did not start:\n${readFileSync(logFile, 'utf8').slice(-4000)}`)
  }

  const server = {
    url: setup.url(port),
    port,
    directory,
    start,
    stop: async () => running?.end(setup.stopSignal),
    kill: async () => running?.end('SIGKILL'),
    freeze: () => running?.signal('SIGSTOP'),
    thaw: () => running?.signal('SIGCONT'),
    limitFiles: (bytes?: number) => running?.limitFiles(bytes),
    log: () => readFileSync(logFile, 'utf8'),
    async remove () {
      await running?.end('SIGKILL')
      rmSync(directory, { recursive: true, force: true })
    }
  }
  await start()
  return server
}

function run (setup: PrivateServerSetup, place: Place, logFile: string) {
  const log = openSync(logFile, 'a')
  const child = spawn(setup.command, setup.args(place), {
    cwd: place.directory, stdio: ['ignore', log, log], ...setup.identity
  })
  closeSync(log)
  const serverPid = child.pid
  if (serverPid === undefined) throw new Error(`${setup.command} cannot be started`)
  const exited = new Promise<void>(resolve => child.once('exit', () => resolve()))
  const ended = () => child.exitCode !== null || child.signalCode !== null
  const guardian = guard(serverPid, place.directory)
  child.unref()

  const signal = (name: NodeJS.Signals) => {
    if (ended()) return
    const processes = [serverPid, ...childrenOf(serverPid)]
    for (const id of processes) sendSignal(id, name)
    if (name === 'SIGSTOP') for (const id of processes) waitUntilStopped(id)
  }

  return {
    ended,
    signal,
    limitFiles (bytes: number | undefined) {
      const limit = `--fsize=${bytes ?? 'unlimited'}:`
      for (const id of [serverPid, ...childrenOf(serverPid)]) execFileSync('prlimit', [`--pid=${id}`, limit], setup.identity)
    },
    async end (name: NodeJS.Signals) {
      guardian.kill('SIGKILL')
      if (ended()) return
      child.ref()
      if (name === 'SIGKILL') await killAll(serverPid)
      else child.kill(name)
      await exited
    }
  }
}

/** Waits for our end, which closes its standard input, and ends the server then: also after a SIGKILL of ours. */
function guard (pid: number, directory: string) {
  const guardian = spawn('sh', ['-c', 'read _; kill -9 "$1"; sleep 0.2; rm -rf "$2"', 'guardian', String(pid), directory], {
    stdio: ['pipe', 'ignore', 'ignore'], detached: true
  })
  guardian.unref()
  if ('unref' in guardian.stdin && typeof guardian.stdin.unref === 'function') guardian.stdin.unref()
  return guardian
}

function childrenOf (pid: number): number[] {
  return execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' })
    .split('\n').map(line => line.trim().split(/\s+/).map(Number))
    .flatMap(([child, parent]) => parent === pid && child !== undefined ? [child] : [])
}

function sendSignal (pid: number, name: NodeJS.Signals) {
  try {
    process.kill(pid, name)
  } catch {
    // It ended by itself in the meantime.
  }
}

/**
 * Kills a process and its children, and waits for the children: Postgres does not start again while one of them is left. It is
 * stopped first, so that it starts no further one meanwhile.
 */
async function killAll (pid: number): Promise<void> {
  sendSignal(pid, 'SIGSTOP')
  waitUntilStopped(pid)
  const children = childrenOf(pid)
  for (const id of [pid, ...children]) sendSignal(id, 'SIGKILL')
  for (let attempt = 0; attempt < 1000 && children.some(isRunning); attempt++) await sleep(5)
}

/** Whether a process has not ended. Only Linux says so. */
function isRunning (pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return false
  }
}

/** The signal takes effect when a thread of the process gets to run: on a busy machine, others of its threads reply meanwhile. */
function waitUntilStopped (pid: number) {
  const clock = new Int32Array(new SharedArrayBuffer(4))
  for (let attempt = 0; attempt < 5000 && !isStopped(pid); attempt++) Atomics.wait(clock, 0, 0, 1)
}

/** Whether every thread has stopped. Only Linux says so. */
function isStopped (pid: number): boolean {
  try {
    const threads = `/proc/${pid}/task`
    return readdirSync(threads).every(thread => !/\) [RSD] /.test(readFileSync(join(threads, thread, 'stat'), 'latin1')))
  } catch {
    return true
  }
}

/** A port of 127.0.0.1 that is free now. */
export function freePort (): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer().once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      const port = typeof address === 'object' && address !== null ? address.port : 0
      probe.close(() => resolve(port))
    })
  })
}
