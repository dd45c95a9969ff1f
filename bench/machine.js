import { readFileSync } from 'node:fs'
import { cpus, loadavg, release, totalmem } from 'node:os'
import { canPin } from './cores.js'
import { canCount } from './instructions.js'

const packages = ['fastify', 'fast-jwt', '@sinclair/typebox', '@fastify/rate-limit', 'ioredis', 'pg', 'better-sqlite3', '@fastify/session', 'express', 'express-session', 'connect-redis', 'redis', 'better-auth', 'oidc-provider', 'express-openid-connect', 'mysql2']

/** What a reader needs to know of the machine to judge the figures. */
export function describeMachine (servers) {
  return {
    at: new Date().toISOString(),
    node: process.version,
    v8: process.versions.v8,
    system: `${process.platform} ${release()} ${process.arch}`,
    cpu: cpus()[0]?.model.trim(),
    cores: cpus().length,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    loadBefore: Number(loadavg()[0].toFixed(2)),
    pinned: canPin,
    instructions: canCount,
    servers,
    packages: Object.fromEntries(packages.map(name => [name, versionOf(name)]).filter(([, version]) => version !== undefined))
  }
}

function versionOf (name) {
  for (const folder of ['./node_modules/', '../node_modules/']) {
    try {
      return JSON.parse(readFileSync(new URL(`${folder}${name}/package.json`, import.meta.url), 'utf8')).version
    } catch {}
  }
  return undefined
}
