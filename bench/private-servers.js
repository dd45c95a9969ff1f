// Redis, PostgreSQL and MariaDB or MySQL of our own, for the time of a run. Never servers that anybody else uses.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, chownSync, constants, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { canPin, loadCore } from './cores.js'

/** Starts what is installed here. Answers with the addresses by kind, and with the way to end it all. */
export async function startServers () {
  const directory = mkdtempSync(join(tmpdir(), 'fastify-logout-bench-'))
  const started = (await Promise.all([startRedis(directory), startPostgres(), startMysql()])).filter(server => server !== undefined)
  let databases = 0
  return {
    directory,
    versions: Object.fromEntries(started.map(({ kind, name = kind, version }) => [name, version])),
    /** A place for this kind of store, or `undefined` where its server is not installed. SQLite gets a new file each time. */
    storeAt: (kind) => {
      if (kind === 'memory') return { kind }
      if (kind === 'sqlite') return { kind, path: join(directory, `${++databases}.db`) }
      const server = started.find(server => server.kind === kind)
      return server && { kind, url: server.url, pid: server.pid }
    },
    end: async () => {
      await Promise.all(started.map(({ end }) => end()))
      rmSync(directory, { recursive: true, force: true })
    }
  }
}

async function startRedis (directory) {
  const program = find('redis-server') ?? find('valkey-server')
  if (program === undefined) return undefined
  const port = await freePort()
  const { pid, end } = await start(program, ['--port', port, '--bind', '127.0.0.1', '--dir', directory, '--save', '', '--appendonly', 'no'], { cwd: directory }, port)
  return { kind: 'redis', url: `redis://127.0.0.1:${port}`, pid, version: versionOf(program), end: () => end('SIGTERM') }
}

async function startPostgres () {
  const [program, initdb] = [find('postgres'), find('initdb')]
  if (program === undefined || initdb === undefined) return undefined
  const data = mkdtempSync(join(tmpdir(), 'fastify-logout-bench-pg-'))
  const identity = unprivileged('postgres')
  if (identity !== undefined) chownSync(data, identity.uid, identity.gid)
  const options = { cwd: data, ...identity }
  execFileSync(initdb, ['-D', join(data, 'data'), '--auth=trust', '--username=postgres', '--no-locale', '--encoding=UTF8', '--no-sync'], { stdio: 'ignore', ...options })
  const port = await freePort()
  const settings = [`port=${port}`, 'listen_addresses=127.0.0.1', 'unix_socket_directories=', 'fsync=off', 'max_connections=300']
  const { pid, end } = await start(program, ['-D', join(data, 'data'), ...settings.flatMap(setting => ['-c', setting])], options, port)
  return {
    kind: 'postgres',
    url: `postgresql://postgres@127.0.0.1:${port}/postgres`,
    pid,
    version: versionOf(program),
    end: async () => {
      await end('SIGINT')
      rmSync(data, { recursive: true, force: true })
    }
  }
}

/** MariaDB, or MySQL where that is not installed. A commit does not wait for the disk, as in PostgreSQL above. */
async function startMysql () {
  const [mariadb, installer] = [find('mariadbd'), find('mariadb-install-db')]
  const program = installer === undefined ? find('mysqld') : mariadb
  if (program === undefined) return undefined
  const directory = mkdtempSync(join(tmpdir(), 'fastify-logout-bench-mysql-'))
  const data = join(directory, 'data')
  mkdirSync(data)
  const identity = unprivileged('mysql')
  if (identity !== undefined) for (const path of [directory, data]) chownSync(path, identity.uid, identity.gid)
  const options = { cwd: directory, ...identity }
  const [command, ...args] = program === mariadb
    ? [installer, '--no-defaults', '--auth-root-authentication-method=normal', '--skip-test-db', '--skip-name-resolve']
    : [program, '--no-defaults', '--initialize-insecure']
  execFileSync(command, [...args, `--datadir=${data}`, `--tmpdir=${directory}`], { stdio: 'ignore', ...options })
  const port = await freePort()
  const settings = [
    `datadir=${data}`, `socket=${join(directory, 'socket')}`, `pid-file=${join(directory, 'pid')}`, `tmpdir=${directory}`, `port=${port}`,
    'bind-address=127.0.0.1', 'skip-name-resolve', 'max-connections=300', 'innodb-buffer-pool-size=1G', 'innodb-flush-log-at-trx-commit=0'
  ]
  const { pid, end } = await start(program, ['--no-defaults', ...settings.map(setting => `--${setting}`)], options, port)
  return {
    kind: 'mysql',
    name: program === mariadb ? 'mariadb' : 'mysql',
    url: `mysql://root@127.0.0.1:${port}`,
    pid,
    version: versionOf(program),
    end: async () => {
      await end('SIGTERM')
      rmSync(directory, { recursive: true, force: true })
    }
  }
}

async function start (program, args, options, port) {
  const command = [...canPin ? ['taskset', '-c', String(loadCore)] : [], program, ...args.map(String)]
  const child = spawn(command[0], command.slice(1), { stdio: 'ignore', ...options })
  process.once('exit', () => child.kill('SIGKILL'))
  for (let attempt = 0; !await answers(port); attempt++) {
    if (attempt > 200 || child.exitCode !== null) throw new Error(`${program} did not start`)
    await sleep(50)
  }
  return {
    // `taskset` has become the program.
    pid: child.pid,
    end: async (signal) => {
      const ended = once(child, 'exit')
      child.kill(signal)
      await ended
    }
  }
}

function answers (port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => { socket.destroy(); resolve(true) }).on('error', () => resolve(false))
  })
}

async function freePort () {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address()
  probe.close()
  await once(probe, 'close')
  return port
}

function find (name) {
  const root = '/usr/lib/postgresql'
  const versions = existsSync(root) ? readdirSync(root).sort((a, b) => Number(b) - Number(a)).map(version => join(root, version, 'bin')) : []
  return [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', ...versions].map(folder => join(folder, name)).find(isProgram)
}

function isProgram (file) {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function versionOf (program) {
  return /\d+(\.\d+)+/.exec(execFileSync(program, ['--version'], { encoding: 'utf8' }))?.[0]
}

/** Database servers refuse to run as root. */
function unprivileged (user) {
  if (process.getuid?.() !== 0) return undefined
  const [uid, gid] = ['-u', '-g'].map(which => Number(execFileSync('id', [which, user], { encoding: 'utf8' })))
  return { uid, gid }
}
