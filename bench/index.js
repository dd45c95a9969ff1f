#!/usr/bin/env node
// What does the library cost over a handler written by hand, and how far is it ahead of what a team would install instead?
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const usage = `npm run bench                          quick, about two minutes
npm run bench -- --full                every store, a million sessions, a million marks: about half an hour
npm run bench -- --only flows,guard    these suites: sessions, flows, openid, peers, guard, marks, growth, connections, everywhere, delivery, size, weight; what --out has of the others stays
npm run bench -- --only growth.tenants these parts of suites: growth.sessions, .subjects, .tenants; marks.checking, .loading, .replicas, .revoking
npm run bench -- --launches 1          other than 3 (1 for a quick run) new processes of each
npm run bench -- --report              measures nothing: writes the report of what --out has already
npm run bench -- --memory 16           how many gigabytes the largest database of the growth suite may take (half of what is free)
npm run bench -- --out bench           where RESULTS.md, results.json and the curves go (bench/latest); the docs have the figures of bench`

const { values } = parseArgs({
  options: { full: { type: 'boolean', default: false }, only: { type: 'string' }, launches: { type: 'string' }, out: { type: 'string' }, memory: { type: 'string' }, report: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } }
})
if (values.help) {
  console.log(usage)
  process.exit()
}
const here = fileURLToPath(new URL('.', import.meta.url))
const out = values.out ?? `${here}latest`
/** In bytes. */
const memory = values.memory === undefined ? undefined : Number(values.memory) * 1e9
const launches = Number(values.launches ?? (values.full ? 3 : 1))
const plan = values.full ? { launches, rounds: 4, seconds: 0.3, warmUp: 2 } : { launches, rounds: 4, seconds: 0.15, warmUp: 0.8 }

const { writePages } = await import('./pages.js')
const { charts, document } = await import('./report.js')
if (values.report) {
  write(JSON.parse(readFileSync(`${out}/results.json`, 'utf8')))
  process.exit()
}
if (!existsSync(`${here}node_modules`)) npm('ci', '--prefix', here)
npm('run', 'build', '--prefix', fileURLToPath(new URL('..', import.meta.url)))

const { loadCore, pin } = await import('./cores.js')
const { describeMachine } = await import('./machine.js')
const { startServers } = await import('./private-servers.js')

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1)) // the servers end with us
pin(process.pid, loadCore)
const servers = await startServers()
const results = { ...kept(), machine: describeMachine(servers.versions), plan, full: values.full }
try {
  for (const asked of (values.only ?? 'sessions,flows,openid,peers,guard,marks,growth,connections,everywhere,delivery,size,weight').split(',')) {
    const [name, part] = asked.split('.')
    const { [name]: suite } = await import(`./suites/${name}.js`)
    const [load] = loadavg()
    const made = await suite({ servers, plan, full: values.full, memory, log: console.log, ...part && { parts: [part] } })
    results[name] = part === undefined ? made : { ...results[name], ...made }
    note(asked, name, { at: new Date().toISOString(), launches, load: Number(load.toFixed(1)) })
    write(results)
  }
} finally {
  await servers.end()
}
console.log(`\n${out}/RESULTS.md`)

/** When this was measured. A whole suite takes the place of its parts. */
function note (asked, name, circumstances) {
  const others = Object.entries(results.measured ?? {}).filter(([one]) => asked !== name || !one.startsWith(`${name}.`))
  results.measured = { ...Object.fromEntries(others), [asked]: circumstances }
}

/** After each suite: an hour of measuring is not lost to what comes last. */
function write (results) {
  mkdirSync(out, { recursive: true })
  writeFileSync(`${out}/RESULTS.md`, document(results, readFileSync(`${here}REMARKS.md`, 'utf8')))
  writeFileSync(`${out}/results.json`, JSON.stringify(results, null, 2) + '\n')
  for (const [name, svg] of Object.entries(charts(results))) writeFileSync(`${out}/${name}`, svg)
  if (resolve(out) === resolve(here)) writePages(results) // those of the docs
}

/** The other suites' results of an earlier run like this one. */
function kept () {
  const file = `${out}/results.json`
  if (values.only === undefined || !existsSync(file)) return {}
  const earlier = JSON.parse(readFileSync(file, 'utf8'))
  return earlier.full === values.full ? earlier : {}
}

function npm (...command) {
  const { status } = spawnSync('npm', command, { stdio: ['ignore', 'ignore', 'inherit'], shell: process.platform === 'win32' })
  if (status !== 0) throw new Error(`npm ${command.join(' ')} failed`)
}
