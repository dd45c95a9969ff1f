import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { canPin, serverCore } from '../cores.js'
import { openConnections, sendAll } from '../http-load.js'
import { startSubject } from '../server-process.js'
import { median, spread } from '../statistics.js'

const here = fileURLToPath(new URL('..', import.meta.url))
const root = fileURLToPath(new URL('../..', import.meta.url))
const dist = new URL('../../dist/', import.meta.url)

/** What it takes to have the logout: CPU time of the import, packages and bytes that npm installs for production. */
export async function weight ({ full, log }) {
  const times = full ? 15 : 3
  const rows = subjects.map(subject => ({ name: subject.name, imports: [], files: filesOf(subject.imports), ...installed(subject.packages) }))
  const empty = []
  for (let time = 0; time < times; time++) {
    empty.push(importing([]))
    for (const [place, subject] of subjects.entries()) rows[place].imports.push(importing(subject.imports))
  }
  const start = median(empty)
  const [fastify] = rows.map(row => median(row.imports) - start)
  const results = rows.map(({ imports, ...row }) => {
    const cpu = median(imports) - start
    return { ...row, importMilliseconds: cpu / 1000, importRatio: cpu / fastify }
  })
  for (const { name, importRatio, files, packages, megabytes } of results) log(`  ${name}: import ${importRatio.toFixed(2)}x of Fastify's, ${files} files, ${packages} packages, ${megabytes.toFixed(1)} MB`)
  return { nodeMilliseconds: start / 1000, results, first: await firstRequests({ full, log }), memory: await memoryOfSessions({ full, log }) }
}

/** How long a lone request takes in a process that has answered none, and after a thousand. */
async function firstRequests ({ full, log }) {
  const rows = [['bare Fastify', 'bare-fastify.js'], ['by hand', 'kratos-by-hand.js'], ['fastify-logout', 'kratos-library.js']].map(([name, file]) => ({ name, file, firsts: [], warm: [] }))
  for (let time = 0; time < (full ? 15 : 3); time++) {
    for (const row of rows) {
      const { first, warm } = await firstRequest(row.file)
      row.firsts.push(first)
      row.warm.push(warm)
    }
  }
  return rows.map(({ name, firsts, warm }) => {
    const row = { name, first: spread(firsts), warm: median(warm) }
    log(`  ${name}: the first request takes ${row.first.median.toFixed(2)} ms, one after a thousand ${row.warm.toFixed(2)} ms`)
    return row
  })
}

async function firstRequest (file) {
  const server = await startSubject(file, { store: { kind: 'memory' } })
  const requests = await server.ask('seed', { from: 0, count: 1200 })
  const sockets = await openConnections(server.port, 1)
  const [first] = (await sendAll(sockets, requests.slice(0, 1), server.status)).latencies
  const { latencies } = await sendAll(sockets, requests.slice(1), server.status)
  for (const socket of sockets) socket.destroy()
  await server.end()
  return { first, warm: median(latencies.slice(-200)) }
}

/** Bytes for each session in memory, of a thousand users and of as many users as sessions. */
async function memoryOfSessions ({ full, log }) {
  const count = full ? 1_000_000 : 100_000
  const results = []
  for (const subjects of [1000, count]) {
    const [map, store] = [await bytesOf({ keep: 'map', count, subjects }), await bytesOf({ keep: 'store', count, subjects })]
    log(`  ${count} sessions of ${subjects} users: ${store.toFixed(0)} bytes each, in a Map ${map.toFixed(0)}`)
    results.push({ count, subjects, map, store })
  }
  return results
}

async function bytesOf (parameters) {
  const server = await startSubject('memory-of-sessions.js')
  const bytes = await server.ask('run', parameters)
  await server.end()
  return bytes
}

const library = [new URL('flows/kratos-native.js', dist).href, new URL('session-stores/memory.js', dist).href, new URL('token-verifiers/fast-jwt.js', dist).href]

const subjects = [
  { name: 'Fastify alone', imports: ['fastify'], packages: ['fastify'] },
  { name: 'Fastify, fastify-plugin', imports: ['fastify', 'fastify-plugin'], packages: ['fastify', 'fastify-plugin'] },
  { name: 'Fastify, fast-jwt', imports: ['fastify', 'fast-jwt'], packages: ['fastify', 'fast-jwt'] },
  { name: 'Fastify, TypeBox', imports: ['fastify', '@sinclair/typebox'], packages: ['fastify', '@sinclair/typebox'] },
  { name: 'Fastify, TypeBox, its compiler', imports: ['fastify', '@sinclair/typebox', '@sinclair/typebox/compiler'], packages: ['fastify', '@sinclair/typebox'] },
  { name: 'Fastify, fast-jwt, TypeBox, a handler by hand', imports: ['fastify', 'fast-jwt', '@sinclair/typebox'], packages: ['fastify', 'fast-jwt', '@sinclair/typebox', '@fastify/rate-limit'] },
  { name: 'the floor: Fastify, fast-jwt, TypeBox, fastify-plugin', imports: ['fastify', 'fast-jwt', '@sinclair/typebox', 'fastify-plugin'], packages: ['fastify', 'fast-jwt', '@sinclair/typebox', 'fastify-plugin'] },
  { name: 'Fastify, fastify-logout: one flow, memory store, fast-jwt', imports: ['fastify', ...library], packages: ['fastify', '.'] },
  { name: 'Fastify, fastify-logout: every flow and guard', imports: ['fastify', new URL('index.js', dist).href], packages: ['fastify', '.'] },
  { name: 'Fastify, @fastify/session, connect-redis', imports: ['fastify', '@fastify/cookie', '@fastify/session', 'connect-redis', 'redis'], packages: ['fastify', '@fastify/cookie', '@fastify/session', 'connect-redis', 'redis'] },
  { name: 'Express, express-session, connect-redis', imports: ['express', 'express-session', 'connect-redis', 'redis'], packages: ['express', 'express-session', 'connect-redis', 'redis'] },
  { name: 'Fastify, better-auth', imports: ['fastify', 'better-auth', 'better-auth/node'], packages: ['fastify', 'better-auth'] },
  { name: 'oidc-provider', imports: ['oidc-provider'], packages: ['oidc-provider'] }
]

/** Microseconds of CPU time of a process that imports these, and does nothing else. */
function importing (specifiers) {
  const code = `${specifiers.map(specifier => `await import(${JSON.stringify(specifier)})`).join('\n')}
    const { user, system } = process.cpuUsage(); process.stdout.write(String(user + system))`
  const node = [process.execPath, '--input-type=module', '--eval', code]
  const [command, ...args] = canPin ? ['taskset', '-c', String(serverCore), ...node] : node
  const { stdout, stderr, status } = spawnSync(command, args, { cwd: here, encoding: 'utf8', env: { ...process.env, NODE_ENV: 'production' } })
  if (status !== 0) throw new Error(stderr)
  return Number(stdout)
}

function filesOf (specifiers) {
  const { stdout, stderr, status } = spawnSync(process.execPath, [join(here, 'loaded-files.js'), ...specifiers], { cwd: here, encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
  return Number(stdout)
}

/** The packages that come with these, dependencies and obligatory peers included, and what they take on the disk: each name once, as npm would install them by themselves. */
function installed (names) {
  const found = new Map()
  for (const name of names) collect(name === '.' ? root : folderOf(name, here), found)
  const byName = new Map([...found].map(([folder, size]) => [folder.split('node_modules/').at(-1), size]))
  const bytes = [...byName.values()].reduce((sum, size) => sum + size, 0)
  return { packages: byName.size, megabytes: bytes / 1e6 }
}

function collect (folder, found) {
  if (folder === undefined || found.has(folder)) return
  const { dependencies = {}, optionalDependencies = {}, peerDependencies = {}, peerDependenciesMeta = {}, files } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  found.set(folder, folder === root ? sizeOfOwn(files) : sizeOf(folder))
  const peers = Object.keys(peerDependencies).filter(name => peerDependenciesMeta[name]?.optional !== true)
  for (const name of [...Object.keys(dependencies), ...Object.keys(optionalDependencies), ...peers]) collect(folderOf(name, folder), found)
}

function folderOf (name, from) {
  for (const folder of createRequire(join(from, 'package.json')).resolve.paths(name) ?? []) {
    if (existsSync(join(folder, name, 'package.json'))) return join(folder, name)
  }
  return undefined
}

function sizeOfOwn (files) {
  return [...files, 'package.json', 'README.md', 'LICENSE'].reduce((sum, file) => sum + sizeOf(join(root, file)), 0)
}

/** Without the packages inside, which count for themselves. */
function sizeOf (path) {
  if (!existsSync(path)) return 0
  const stat = statSync(path)
  if (!stat.isDirectory()) return stat.size
  return readdirSync(path).filter(name => name !== 'node_modules').reduce((sum, name) => sum + sizeOf(join(path, name)), 0)
}
