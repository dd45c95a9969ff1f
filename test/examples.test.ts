import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { withPostgres } from './servers/postgres.ts'
import { withRedis } from './servers/redis.ts'

const run = promisify(execFile)

interface Running { readonly child: ChildProcess, readonly lines: string[], readonly address: string }

/** Starts an example on a free port, as a person would, and waits for its curl lines. */
async function start (t: Test, example: string, args: string[] = [], env: Record<string, string> = {}): Promise<Running> {
  const child = spawn(process.execPath, [`examples/${example}.js`, ...args], { env: { ...process.env, SQLITE_FILE: ':memory:', PORT: '0', HOST: '127.0.0.1', ...env }, stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => { child.kill('SIGKILL') })
  const lines: string[] = []
  createInterface({ input: child.stdout }).on('line', line => lines.push(line))
  for (let waited = 0; waited < 400 && !lines.some(line => line.includes('curl')); waited++) await sleep(50)
  await sleep(50)
  return { child, lines, address: /http:\/\/[\d.:]+/.exec(lines.join('\n'))?.[0] ?? '' }
}

/** The printed lines that a person can paste, with the status that stands in front of each. */
function pasteable ({ lines }: Running) {
  return lines.map(line => /^ {2}(\d{3}) {2}(curl .*)$/.exec(line)).filter(match => match !== null)
    .map(([, status, command]) => ({ status, command: String(command) }))
}

for (const [example, count] of [['server', 7], ['signinghub', 2], ['kratos', 2], ['tenant-status', 3], ['own-user-table', 2]] as const) {
  t.test(`examples/${example}.js prints curl lines that answer as they say, more than once, and ends on SIGINT`, async (t) => {
    const server = await start(t, example)
    const commands = pasteable(server)
    t.ok(commands.length >= count, `${commands.length} curl lines`)
    for (const { status, command } of [...commands, ...commands]) {
      const { stdout } = await run('sh', ['-c', `${command} --silent --max-time 5`])
      t.equal(stdout.slice(0, 12), `HTTP/1.1 ${status}`, command)
    }
    server.child.kill('SIGINT')
    const [code] = await once(server.child, 'exit')
    t.equal(code, 0)
  })
}

/** Logs out, kills the server, starts another one, and logs the same session out again: a store that forgot it answers 403. */
async function survivesRestart (t: Test, args: string[], env: Record<string, string>): Promise<void> {
  const first = await start(t, 'server', args, env)
  const command = pasteable(first).find(({ status, command }) => status === '204' && command.includes('/self-service/logout/api'))?.command ?? ''
  const { stdout } = await run('sh', ['-c', `${command} --silent --max-time 5`])
  t.match(stdout, /^HTTP\/1.1 204/)
  first.child.kill('SIGKILL')
  await once(first.child, 'exit')

  const second = await start(t, 'server', args, env)
  const again = await run('sh', ['-c', `${command.replace(first.address, second.address)} --silent --max-time 5`])
  t.match(again.stdout, /^HTTP\/1.1 204/)
}

t.test('by default, a logout survives a restart', async (t) => {
  await survivesRestart(t, [], { SQLITE_FILE: `${t.testdir()}/example.sqlite` })
})

t.test('with --store redis, a logout survives a restart', async (t) => {
  await withRedis(t, ({ url }) => survivesRestart(t, ['--store', 'redis'], { REDIS_URL: url }))
})

t.test('with --store postgres, a logout survives a restart', async (t) => {
  await withPostgres(t, ({ url }) => survivesRestart(t, ['--store', 'postgres'], { DATABASE_URL: url }))
})

t.test('a store that is unknown, or cannot be reached, is one clear line', async (t) => {
  const lines = {
    constructor: /^--store constructor is unknown: choose one of memory, sqlite, redis, postgres\n$/,
    sqlite: /^--store sqlite cannot be opened: [^\n]+\n$/,
    nowhere: /^--store nowhere is unknown: choose one of memory, sqlite, redis, postgres\n$/,
    redis: /^--store redis cannot be opened: connect ECONNREFUSED 127\.0\.0\.1:1\n$/,
    postgres: /^--store postgres cannot be opened: connect ECONNREFUSED 127\.0\.0\.1:1\n$/
  }
  for (const [store, line] of Object.entries(lines)) {
    const env = { ...process.env, PORT: '0', SQLITE_FILE: '/not/there/x.sqlite', REDIS_URL: 'redis://127.0.0.1:1', DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none' }
    const failure = await run(process.execPath, ['examples/server.js', '--store', store], { env })
      .catch((error: unknown) => error as { code: number, stderr: string })
    t.match(failure, { code: 1, stderr: line })
  }
})

t.test('a port in use is one clear line, not a stack', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.teardown(() => { taken.close() })
  const { port } = taken.address() as AddressInfo

  const failure = await run(process.execPath, ['examples/server.js'], { env: { ...process.env, SQLITE_FILE: ':memory:', PORT: String(port) } })
    .catch((error: unknown) => error as { code: number, stderr: string, stdout: string })
  t.match(failure, { code: 1, stdout: '' })
  t.equal(failure.stderr, `Port ${port} on 127.0.0.1 is in use: choose another one, PORT=${port + 1} npm start for instance\n`)
})

t.test('a port that is none is one clear line', async (t) => {
  const failure = await run(process.execPath, ['examples/server.js'], { env: { ...process.env, SQLITE_FILE: ':memory:', PORT: '70000' } })
    .catch((error: unknown) => error as { code: number, stderr: string })
  t.match(failure, { code: 1, stderr: /^PORT=70000 is not a port: [^\n]*\n$/ })
})
