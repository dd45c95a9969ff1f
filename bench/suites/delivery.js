import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const subject = fileURLToPath(new URL('../subjects/delivery-worker.js', import.meta.url))

/** How fast deliveries to other applications go through each queue, and what `notify` costs the logout. Each in a process of its own. */
export async function delivery ({ servers, plan, full, log }) {
  const places = { directory: servers.directory, redis: urlOf(servers.storeAt('redis')), postgres: urlOf(servers.storeAt('postgres')) }
  const kinds = ['memory', 'sqlite', ...places.redis === undefined ? [] : ['bullmq'], ...places.postgres === undefined ? [] : ['pg-boss']]
  const results = []
  for (const kind of kinds) {
    log(`deliveries, ${kind}`)
    for (let launch = 0; launch < plan.launches; launch++) {
      const parameters = JSON.stringify({ kind, count: full ? 5000 : 1000, ...places })
      const { stdout, status } = spawnSync(process.execPath, [subject, parameters], { stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8' })
      if (status !== 0) throw new Error(`the subject of ${kind} ended with ${status}`)
      results.push(JSON.parse(stdout))
    }
  }
  return results
}

function urlOf (place) {
  return place?.url
}
