import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'

const run = promisify(execFile)

interface Running { readonly child: ChildProcess, readonly lines: string[], readonly address: string }

/** Starts an example on a free port, as a person would, and waits for its curl lines. */
async function start (t: Test, example: string): Promise<Running> {
  const child = spawn(process.execPath, [`examples/${example}.js`], { env: { ...process.env, PORT: '0', HOST: '127.0.0.1' }, stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => { child.kill('SIGKILL') })
  const lines: string[] = []
  createInterface({ input: child.stdout }).on('line', line => lines.push(line))
  for (let waited = 0; waited < 200 && !lines.some(line => line.includes('curl')); waited++) await sleep(50)
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

t.test('a port in use is one clear line, not a stack', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.teardown(() => { taken.close() })
  const { port } = taken.address() as AddressInfo

  const failure = await run(process.execPath, ['examples/server.js'], { env: { ...process.env, PORT: String(port) } })
    .catch((error: unknown) => error as { code: number, stderr: string, stdout: string })
  t.match(failure, { code: 1, stdout: '' })
  t.equal(failure.stderr, `Port ${port} on 127.0.0.1 is in use: choose another one, PORT=${port + 1} npm start for instance\n`)
})

t.test('a port that is none is one clear line', async (t) => {
  const failure = await run(process.execPath, ['examples/server.js'], { env: { ...process.env, PORT: '70000' } })
    .catch((error: unknown) => error as { code: number, stderr: string })
  t.match(failure, { code: 1, stderr: /^PORT=70000 is not a port: [^\n]*\n$/ })
})
