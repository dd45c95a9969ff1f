import { execFile, spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { blocksOf, pages, type Block } from '../docs/pages.ts'
import { freePort } from '../servers/private-process.ts'

// The README as somebody follows it who installs the tarball into an empty folder. Needs `npm run build`, and a registry
// or npm's cache.

t.setTimeout(900_000)

const run = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))
const readme = readFileSync(join(root, 'README.md'), 'utf8')
const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { devDependencies: Record<string, string> }
const blocks = [...readme.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(([, language, text = '']) => ({ language, text }))

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'fastify-logout-readme-')))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))
const { stdout } = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], { cwd: root, maxBuffer: 2 ** 26 })
const [packed] = JSON.parse(stdout) as Array<{ filename: string }>
const install = /`npm install (fastify-logout .*?)`/.exec(readme)?.[1]?.replace('fastify-logout', `./${packed?.filename}`).split(' ') ?? []
await run('npm', ['init', '--yes'], { cwd: folder })
await run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', ...install], { cwd: folder })

const host = blocks.find(({ text }) => text.includes('await app.listen('))?.text ?? ''

t.test('the fifteen-line host has fifteen lines', async t => {
  t.equal(host.split('\n').filter(line => line !== '' && !line.startsWith('//')).length, 15)
})

t.test('the fifteen-line host starts with the printed command and sends the printed responses', async t => {
  const port = await freePort()
  const moved = (text: string) => text.replace(/\b3000\b/g, String(port))
  const file = /save this as `(.*?)`/.exec(readme)?.[1] ?? ''
  writeFileSync(join(folder, file), moved(host))
  const command = blocks.find(({ text, language }) => language === 'sh' && text.includes(file))?.text ?? ''
  const server = spawn('sh', ['-c', `exec env ${command.trim()}`], { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] })
  t.teardown(() => { server.kill('SIGKILL') })

  const calls = (blocks.find(({ text }) => text.startsWith('$ curl'))?.text ?? '').trimEnd().split('\n\n').map(call => call.split('\n'))
  t.equal(calls.length, 4)
  const [logIn = [], , logOut = []] = calls
  const others = [logOut[0] ?? '', '-d scope=others'].join(' ')
  const further = [logOut, logIn, [others, logOut[1]], [others.replace('others', 'all'), logOut[1]]]
  for (const [typed = '', status, body = ''] of [...calls, ...further]) {
    const curl = `${moved(typed.slice('$ '.length))} --silent --max-time 5 --retry 20 --retry-connrefused --retry-delay 1`
    const { stdout } = await run('sh', ['-c', curl], { cwd: folder })
    const [head = '', received = ''] = stdout.split('\r\n\r\n')
    t.equal(head.split('\r\n')[0], status, typed)
    t.equal(received, body, typed)
    const cleared = head.match(/^set-cookie: sessionId=;.*Max-Age=0;/gim)?.length ?? 0
    t.equal(cleared, typed.includes('/logout') && !typed.includes('others') ? 1 : 0, `${typed} clears the cookie`)
  }

  // A login opens a new session: nobody can make a browser log in to a session that they know.
  const ask = async (path: string, jars: string) => {
    return (await run('sh', ['-c', `curl --silent --max-time 5 http://127.0.0.1:${port}${path} ${jars}`], { cwd: folder })).stdout
  }
  await ask('/login', '-X POST -c before.txt')
  await ask('/login', '-X POST -b before.txt -c after.txt')
  t.equal(await ask('/me', '-b before.txt'), '{"user":"nobody"}')
  t.equal(await ask('/me', '-b after.txt'), '{"user":"alice"}')
})

t.test('without its secret a program reports which option is wrong', async t => {
  for (const [marker, message] of [['fastJwtVerifier', /TypeError: fastJwtVerifier: option "key"/], ['app.listen', /secret/]] as const) {
    writeFileSync(join(folder, 'no-secret.mjs'), pages().flatMap(blocksOf).find(({ code }) => code.includes(marker))?.code ?? '')
    const failure = await run(process.execPath, ['no-secret.mjs'], { cwd: folder, env: { ...process.env, SECRET: '' } })
      .catch((error: { code: number, stderr: string }) => error)
    t.match(failure, { code: 1, stderr: message })
  }
})

/** A program that needs a server, or something that its page says is there already. Its types are checked all the same. */
function needsMore (code: string): boolean {
  const given = ['app', 'redis', 'pool'].some(name => {
    return new RegExp(`^[^/\n]*(?<![.\\w'-])${name}[.()]`, 'm').test(code) && !new RegExp(`const ${name} =`).test(code)
  })
  return given || /\((?:redis|pool)\)|from '(?:bullmq|ioredis|pg|pg-boss|redis)'/.test(code)
}

/** Copied rather than installed: where npm finds no binary for this machine, it compiles one for minutes. */
const compiled = ['better-sqlite3', 'bindings', 'file-uri-to-path']

t.test('every other program runs after its packages are installed', async t => {
  const isProgram = ({ language, code, runBy }: Block) => {
    return language === 'js' && code !== host && runBy === undefined && !needsMore(code)
  }
  const programs = pages().flatMap(blocksOf).filter(isProgram).map(({ code }) => code)
  t.ok(programs.length >= 15, `${programs.length} programs`)
  const imported = new Set(programs.flatMap(text => [...text.matchAll(/from '((?:@[^/']+\/)?[^/':]+)/g)].map(([, name = '']) => name)))
  const packages = [...imported].filter(name => !['fastify-logout', 'fastify', 'node', ...compiled].includes(name))
  await run('npm', [
    'install', '--prefer-offline', '--no-audit', '--no-fund',
    ...packages.map(name => name in devDependencies ? `${name}@${devDependencies[name]}` : name)
  ], { cwd: folder })
  for (const name of compiled) cpSync(join(root, 'node_modules', name), join(folder, 'node_modules', name), { recursive: true })
  for (const [index, text] of programs.entries()) {
    writeFileSync(join(folder, `program-${index}.mjs`), text)
    const env = { ...process.env, SECRET: 'a secret of 32 characters at least', NODE_OPTIONS: '', NODE_TEST_CONTEXT: '', TAP: '' }
    const ran = await run(process.execPath, [`program-${index}.mjs`], { cwd: folder, env, timeout: 30_000 }).catch(
      (error: { code: number, stderr: string, stdout: string }) => error
    )
    // oidc-provider runs on Node.js 20, and says that it is too old.
    t.equal(ran.stderr.replace(/^oidc-provider WARNING: Unsupported runtime.*\n/m, ''), '', String(text.split('\n', 1)))
    t.notOk('code' in ran, ran.stdout.slice(-2000))
  }
})
