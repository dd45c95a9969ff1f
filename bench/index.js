#!/usr/bin/env node
// What does the library cost over a handler written by hand, and how far is it ahead of what a team would install instead?
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const usage = `npm run bench                          quick, about two minutes
npm run bench -- --full                every store, a million sessions, a million marks: about half an hour
npm run bench -- --only flows,guard    these suites: sessions, flows, openid, peers, guard, marks, growth, connections, everywhere, delivery, size, weight; what --out has of the others stays
npm run bench -- --launches 1          other than 3 (1 for a quick run) new processes of each
npm run bench -- --out bench           where RESULTS.md, results.json and the curves go (bench/latest)`

const { values } = parseArgs({
  options: { full: { type: 'boolean', default: false }, only: { type: 'string' }, launches: { type: 'string' }, out: { type: 'string' }, help: { type: 'boolean', default: false } }
})
if (values.help) {
  console.log(usage)
  process.exit()
}
const here = fileURLToPath(new URL('.', import.meta.url))
const out = values.out ?? `${here}latest`
const launches = Number(values.launches ?? (values.full ? 3 : 1))
const plan = values.full ? { launches, rounds: 4, seconds: 0.3, warmUp: 2 } : { launches, rounds: 4, seconds: 0.15, warmUp: 0.8 }

if (!existsSync(`${here}node_modules`)) npm('ci', '--prefix', here)
npm('run', 'build', '--prefix', fileURLToPath(new URL('..', import.meta.url)))

const { loadCore, pin } = await import('./cores.js')
const { describeMachine } = await import('./machine.js')
const { startServers } = await import('./private-servers.js')
const { charts, report } = await import('./report.js')

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1)) // the servers end with us
pin(process.pid, loadCore)
const servers = await startServers()
const results = { ...kept(), machine: describeMachine(servers.versions), plan, full: values.full }
try {
  for (const name of (values.only ?? 'sessions,flows,openid,peers,guard,marks,growth,connections,everywhere,delivery,size,weight').split(',')) {
    const { [name]: suite } = await import(`./suites/${name}.js`)
    results[name] = await suite({ servers, plan, full: values.full, log: console.log })
    results.measured = { ...results.measured, [name]: { at: new Date().toISOString(), launches } }
    write()
  }
} finally {
  await servers.end()
}
console.log(`\n${out}/RESULTS.md`)

/** After each suite: an hour of measuring is not lost to what comes last. */
function write () {
  mkdirSync(out, { recursive: true })
  const remarks = existsSync(`${here}REMARKS.md`) ? `\n${readFileSync(`${here}REMARKS.md`, 'utf8')}` : ''
  writeFileSync(`${out}/RESULTS.md`, report(results) + (values.full ? remarks : ''))
  writeFileSync(`${out}/results.json`, JSON.stringify(results, null, 2) + '\n')
  for (const [name, svg] of Object.entries(charts(results))) writeFileSync(`${out}/${name}`, svg)
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
