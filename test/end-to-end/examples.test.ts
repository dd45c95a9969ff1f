import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import * as jwt from '../../examples/jwt.js'
import * as openConnections from '../../examples/open-connections.js'
import { build } from '../../examples/own-user-table.js'
import * as passport from '../../examples/passport.js'
import * as secureSession from '../../examples/secure-session.js'
import * as session from '../../examples/session.js'
import * as tokenRevocation from '../../examples/token-revocation.js'
import { setCookies } from '../session-host.ts'
import { withMysql } from '../servers/mysql.ts'
import { withPostgres } from '../servers/postgres.ts'
import { withRedis } from '../servers/redis.ts'

const run = promisify(execFile)

interface Running { readonly child: ChildProcess, readonly lines: string[], readonly address: string }

/** Starts an example on a free port, as a person would, and waits for its curl lines. */
async function start (t: Test, example: string, args: string[] = [], env: Record<string, string> = {}): Promise<Running> {
  const child = spawn(process.execPath, [`examples/${example}.js`, ...args], {
    env: { ...process.env, SQLITE_FILE: ':memory:', PORT: '0', HOST: '127.0.0.1', ...env }, stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(() => { child.kill('SIGKILL') })
  const lines: string[] = []
  createInterface({ input: child.stdout }).on('line', line => lines.push(line))
  for (let waited = 0; waited < 400 && !lines.some(line => line.includes('curl')); waited++) await sleep(50)
  await sleep(50)
  return { child, lines, address: /http:\/\/(?:[\d.]+|\[[\d:]+\]|localhost):\d+/.exec(lines.join('\n'))?.[0] ?? '' }
}

/** The printed lines that a person can paste, with the status that stands in front of each. */
function pasteable ({ lines }: Running) {
  return lines.map(line => /^ {2}(\d{3}) {2}(curl .*)$/.exec(line)).filter(match => match !== null)
    .map(([, status, command]) => ({ status, command: String(command) }))
}

const counts = {
  server: 11,
  session: 7,
  jwt: 7,
  'secure-session': 6,
  passport: 6,
  'open-connections': 4,
  signinghub: 2,
  kratos: 2,
  'tenant-status': 3,
  'own-user-table': 2,
  observability: 5,
  'openid-connect': 2,
  'security-events': 4,
  'token-revocation': 5
}

for (const [example, count] of Object.entries(counts)) {
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

const hosts = { session, jwt, 'secure-session': secureSession, passport }

for (const [example, { build }] of Object.entries(hosts)) {
  t.test(`the logout of examples/${example}.js clears each cookie, can be repeated, and ends what the device did not send`, async t => {
    const { app, cookies: { laptop, phone, tablet } } = await build()
    t.teardown(() => app.close())
    const send = (url: string, cookie: string, payload = {}) => {
      return app.inject({ method: url === '/me' ? 'GET' : 'POST', url, headers: { cookie }, ...(url !== '/me' && { payload }) })
    }
    const statuses = async (cookie: string) => {
      const urls = example === 'jwt' ? ['/me', '/refresh'] : ['/me']
      return Promise.all(urls.map(async url => (await send(url, cookie)).statusCode))
    }
    const [live, ended] = example === 'jwt' ? [[200, 200], [401, 401]] : [[200], [401]]
    const names = phone.split('; ').map(pair => pair.split('=', 1)[0])
    t.strictSame(await statuses(phone), live)
    // The first cookie alone: of two tokens, the other one is revoked although it was not sent.
    for (const cookie of [phone.split('; ', 1)[0] ?? '', phone, '']) {
      const response = await send('/logout', cookie)
      t.equal(response.statusCode, 204)
      const cleared = setCookies(response)
      t.strictSame(cleared.map(({ name, removed }) => [name, removed]), names.map(name => [name, true]))
      t.strictSame(cleared.map(({ attributes }) => attributes['path']), names.map(() => '/'))
    }
    t.strictSame([await statuses(phone), await statuses(laptop), await statuses(tablet)], [ended, live, live])
    t.equal((await send('/logout', laptop, { scope: 'others' })).statusCode, 204)
    t.strictSame([await statuses(laptop), await statuses(tablet)], [live, ended])
    t.equal((await send('/logout', laptop, { scope: 'all' })).statusCode, 204)
    t.strictSame(await statuses(laptop), ended)
  })
}

t.test('examples/token-revocation.js revokes what the client has, and nothing of another client', async t => {
  const { app, accessToken, otherAccessToken } = await tokenRevocation.build()
  t.teardown(() => app.close())
  const revoke = async (token: string, client: string) => {
    const authorization = `Basic ${Buffer.from(client).toString('base64')}`
    const headers = { authorization, 'content-type': 'application/x-www-form-urlencoded' }
    return (await app.inject({ method: 'POST', url: '/oauth/revoke', headers, payload: `token=${token}` })).statusCode
  }
  const statuses = async () => Promise.all([accessToken, otherAccessToken].map(async token => {
    return (await app.inject({ url: '/me', headers: { authorization: `Bearer ${token}` } })).statusCode
  }))
  t.equal((await app.inject('/me')).statusCode, 401)
  for (const token of ['refresh-token-of-alice', accessToken]) {
    t.equal(await revoke(token, 'mail:secret-of-mail'), 200)
    t.equal(await revoke(token, 'shop:wrong'), 401)
  }
  t.strictSame(await statuses(), [200, 200])
  t.equal(await revoke(otherAccessToken, 'shop:secret-of-the-shop'), 200)
  t.strictSame(await statuses(), [200, 401])
  t.equal(await revoke('refresh-token-of-alice', 'shop:secret-of-the-shop'), 200)
  t.strictSame(await statuses(), [401, 401])
})

t.test('examples/jwt.js distinguishes access tokens from refresh tokens', async t => {
  const { app, cookies: { laptop } } = await jwt.build()
  t.teardown(() => app.close())
  const [access = '', refresh = ''] = laptop.split('; ').map(pair => pair.replace(/^\w+=/, ''))
  const swapped = { cookie: `access=${refresh}; refresh=${access}` }
  t.equal((await app.inject({ url: '/me', headers: swapped })).statusCode, 401)
  t.equal((await app.inject({ method: 'POST', url: '/refresh', headers: swapped })).statusCode, 401)
  t.equal((await app.inject({ method: 'POST', url: '/refresh' })).statusCode, 401)
})

t.test('a logout of examples/open-connections.js ends the WebSocket and the stream of events of its session alone', async t => {
  const { app, live, cookies } = await openConnections.build()
  t.teardown(() => app.close())
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const open = async (cookie: string) => {
    const socket = new WebSocket(`${address.replace('http', 'ws')}/chat`, { headers: { cookie } })
    t.teardown(() => socket.terminate())
    await once(socket, 'open')
    const events = await fetch(`${address}/events`, { headers: { cookie } })
    return { socket, events }
  }
  const said = async (socket: WebSocket, text: string) => {
    socket.send(text)
    const [data] = await once(socket, 'message')
    return String(data)
  }
  t.equal((await fetch(`${address}/events`)).status, 401)
  const [phone, laptop] = [await open(cookies.phone), await open(cookies.laptop)]
  t.strictSame([await said(phone.socket, 'hello'), live.count()], ['you said hello', 4])
  const closed = once(phone.socket, 'close')
  for (let time = 0; time < 2; time++) {
    t.equal((await fetch(`${address}/logout`, { method: 'POST', headers: { cookie: cookies.phone } })).status, 204)
  }
  const [code] = await closed
  t.equal(code, 3000)
  t.equal(await phone.events.text(), 'data: you are logged in\n\n', 'the stream ends after what was written')
  t.equal(await said(laptop.socket, 'still here'), 'you said still here')
  t.equal((await fetch(`${address}/events`, { headers: { cookie: cookies.phone } })).status, 401)
  await laptop.events.body?.cancel()
  laptop.socket.terminate()
})

for (const [env, address] of [
  [{ PORT: '0' }, /^http:\/\/127\.0\.0\.1:\d{4,5}$/],
  [{ PORT: '', HOST: '' }, /^http:\/\/127\.0\.0\.1:3000$/],
  [{ HOST: '0.0.0.0' }, /^http:\/\/localhost:\d{4,5}$/],
  [{ HOST: '::' }, /^http:\/\/localhost:\d{4,5}$/],
  [{ HOST: '::1' }, /^http:\/\/\[::1\]:\d{4,5}$/],
  [{ HOST: 'localhost', PUBLIC_URL: 'https://demo.example' }, /^http:\/\/localhost:\d{4,5}$/]
] as const) {
  t.test(`with ${JSON.stringify(env)} a browser finds the logout URL and where it is sent to`, async (t) => {
    if ('PORT' in env && env.PORT === '' && !await isFree(3000)) return t.plan(0, 'port 3000 is in use')
    if ('HOST' in env && env.HOST.includes(':') && !await isFree(0, '::1')) return t.plan(0, 'this machine has no IPv6')
    const server = await start(t, 'server', [], env)
    t.match(server.address, address)
    const publicUrl = 'PUBLIC_URL' in env ? env.PUBLIC_URL : server.address
    const signedIn = await fetch(`${server.address}/demo/sign-in`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"user":"alice","device":"This browser"}'
    })
    const headers = { cookie: String(signedIn.headers.get('set-cookie')).split(';', 1)[0] ?? '' }
    const flow = await (await fetch(`${server.address}/self-service/logout/browser`, { headers })).json() as { logout_url: string }
    t.ok(flow.logout_url.startsWith(`${publicUrl}/self-service/logout?token=`), flow.logout_url)
    const left = await fetch(flow.logout_url.replace(publicUrl, server.address), {
      headers: { ...headers, accept: 'text/html' }, redirect: 'manual'
    })
    t.equal(left.status, 303)
    t.equal(left.headers.get('location'), `${publicUrl}/goodbye`)
  })
}

async function isFree (port: number, host = '127.0.0.1'): Promise<boolean> {
  const probe = createServer().listen(port, host)
  const free = await once(probe, 'listening').then(() => true, () => false)
  probe.close()
  return free
}

t.test('a user in a state of the host\'s own is left alone, whatever its version', async (t) => {
  const { app, userRows: [row], users } = await build()
  t.teardown(() => app.close())
  const user = { tenant: 'acme', subject: '7' }
  const change = { status: 'logged_out', at: 1, requestId: 'r' } as const
  if (row === undefined) throw new Error('there is a user')
  for (const state of ['suspended', 'constructor']) {
    row.state = state
    t.match(await users.get(user), { status: state, version: 1 })
    t.equal(await users.compareAndSet(user, 1, change), false)
    t.match(row, { state, revision: 1 })
  }
  for (const state of ['online', 'offline']) {
    const { revision } = row
    row.state = state
    t.equal(await users.compareAndSet(user, revision - 1, change), false)
    t.equal(await users.compareAndSet(user, revision, change), true)
    t.match(row, { state: 'offline', revision: revision + 1 })
  }
  t.equal(await users.compareAndSet({ tenant: 'acme', subject: '8' }, undefined, change), false, 'and nobody is made up')
})

t.test('the responses in docs/example-server.md are those of a server that has just started', async (t) => {
  const [, text = ''] = /^```text\n(POST \/logout .*?)^```$/ms.exec(await readFile('docs/example-server.md', 'utf8')) ?? []
  const answers = text.trimEnd().split('\n\n').map(answer => answer.split('\n').slice(1))
  const server = await start(t, 'server')
  const printed = /\/(v3\/logout|logout\/api|auth\/logout|me) |\/logout -b \S+$/
  const commands = pasteable(server).filter(({ status, command }) => {
    return printed.test(command) || (status === '401' && command.endsWith('-d scope=others'))
  })
  t.equal(answers.length, commands.length)
  for (const [index, { command }] of commands.entries()) {
    const { stdout } = await run('sh', ['-c', `${command} --silent --max-time 5`])
    const [head = '', body = ''] = stdout.split('\r\n\r\n')
    const headers = head.split('\r\n')
    const [status, ...shown] = answers[index] ?? []
    const json = shown.filter(line => line.startsWith('{')).join('')
    t.equal(headers[0], status, command)
    t.strictSame(shown.filter(line => !line.startsWith('{') && !headers.includes(line)), [])
    t.equal(withoutMoment(body), withoutMoment(json), command)
  }
})

/** A body without its date and the id of its request. */
function withoutMoment (body: string): string {
  return body.replace(/"requestId":"req-\w+","timestamp":"[\d:.TZ-]+"/, '')
}

/** Logs out, kills the server, starts another one, and logs the same session out again: a store that forgot it answers 403. */
async function survivesRestart (t: Test, args: string[], env: Record<string, string>): Promise<void> {
  const first = await start(t, 'server', args, env)
  const isNativeLogout = ({ status, command }: ReturnType<typeof pasteable>[number]) => {
    return status === '204' && command.includes('/self-service/logout/api')
  }
  const command = pasteable(first).find(isNativeLogout)?.command ?? ''
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

t.test('with --store mysql, a logout survives a restart', async (t) => {
  await withMysql(t, ({ url }) => survivesRestart(t, ['--store', 'mysql'], { MYSQL_URL: url }))
})

t.test('an unknown or unreachable store is reported in one line', async (t) => {
  const lines = {
    constructor: /^--store constructor is unknown: choose one of memory, sqlite, redis, postgres, mysql\n$/,
    sqlite: /^--store sqlite cannot be opened: [^\n]+\n$/,
    nowhere: /^--store nowhere is unknown: choose one of memory, sqlite, redis, postgres, mysql\n$/,
    redis: /^--store redis cannot be opened: connect ECONNREFUSED 127\.0\.0\.1:1\n$/,
    postgres: /^--store postgres cannot be opened: connect ECONNREFUSED 127\.0\.0\.1:1\n$/,
    mysql: /^--store mysql cannot be opened: connect ECONNREFUSED 127\.0\.0\.1:1\n$/
  }
  for (const [store, line] of Object.entries(lines)) {
    const env = {
      ...process.env,
      PORT: '0',
      SQLITE_FILE: '/not/there/x.sqlite',
      REDIS_URL: 'redis://127.0.0.1:1',
      DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none',
      MYSQL_URL: 'mysql://nobody@127.0.0.1:1/none'
    }
    const failure = await run(process.execPath, ['examples/server.js', '--store', store], { env })
      .catch((error: unknown) => error as { code: number, stderr: string })
    t.match(failure, { code: 1, stderr: line })
  }
})

t.test('a port in use is reported in one line without a stack', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.teardown(() => { taken.close() })
  const { port } = taken.address() as AddressInfo

  const failure = await run(process.execPath, ['examples/server.js'], {
    env: { ...process.env, SQLITE_FILE: ':memory:', PORT: String(port) }
  })
    .catch((error: unknown) => error as { code: number, stderr: string, stdout: string })
  t.match(failure, { code: 1, stdout: '' })
  t.equal(failure.stderr, `Port ${port} on 127.0.0.1 is in use: choose another one, for example PORT=${port + 1} npm start\n`)
})

t.test('a malformed public URL is reported in one line', async (t) => {
  const failure = await run(process.execPath, ['examples/server.js'], {
    env: { ...process.env, SQLITE_FILE: ':memory:', PORT: '0', PUBLIC_URL: 'demo.example' }
  })
    .catch((error: unknown) => error as { code: number, stderr: string })
  t.match(failure, { code: 1, stderr: /^[^\n]*publicUrl[^\n]*\n$/ })
})

t.test('a malformed port is reported in one line', async (t) => {
  const failure = await run(process.execPath, ['examples/server.js'], { env: { ...process.env, SQLITE_FILE: ':memory:', PORT: '70000' } })
    .catch((error: unknown) => error as { code: number, stderr: string })
  t.match(failure, { code: 1, stderr: /^PORT=70000 is not a port: [^\n]*\n$/ })
})
