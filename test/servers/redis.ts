import { once } from 'node:events'
import { connect } from 'node:net'
import type { Test } from 'tap'
import { findFirst, missing, startPrivateServer, type PrivateServer } from './private-process.ts'

const install = 'install redis-server or valkey-server, or set REDIS_URL'
const installOwn = 'install redis-server or valkey-server: this test kills or counts, so it needs a server of its own'

export interface RedisOptions {
  /** Lines of `redis.conf`: `{ maxmemory: '4mb', appendonly: 'yes', appendfsync: 'always' }`. */
  readonly config?: Readonly<Record<string, string>>
}

/**
 * Runs a test against Redis or Valkey: a private server, or the one at `REDIS_URL`, where other prefixes may be in use.
 * Where neither is there, `t` is skipped with one line; with `CI` set, it fails.
 */
export async function withRedis (t: Test, use: (server: { readonly url: string }) => Promise<void>): Promise<void> {
  const url = process.env['REDIS_URL']
  if (url !== undefined && url !== '') return use({ url })
  return withServer(t, use, {}, install)
}

/** Runs a test against a Redis or Valkey of its own, which it may configure, kill, freeze, fill and count on. */
export async function withPrivateRedis (t: Test, use: (server: PrivateServer) => Promise<void>, options: RedisOptions = {}): Promise<void> {
  return withServer(t, use, options, installOwn)
}

async function withServer (t: Test, use: (server: PrivateServer) => Promise<void>, options: RedisOptions, whatToInstall: string) {
  const command = findFirst(['redis-server', 'valkey-server'])
  if (command === undefined) {
    t.plan(0, missing(whatToInstall))
    return
  }
  const server = await startPrivateServer({
    name: 'redis',
    command,
    args: ({ directory, port }) => config(directory, port, options),
    url: port => `redis://127.0.0.1:${port}`,
    ping,
    stopSignal: 'SIGTERM'
  })
  t.teardown(() => server.remove())
  await use(server)
}

function config (directory: string, port: number, options: RedisOptions): string[] {
  const lines = {
    port: String(port), bind: '127.0.0.1', dir: directory, save: '', appendonly: 'no', daemonize: 'no', ...options.config
  }
  if ('cluster-enabled' in lines) Object.assign(lines, { 'cluster-port': String(busPort(port)) })
  return Object.entries(lines).flatMap(([name, value]) => [`--${name}`, ...(value === '' ? [''] : value.split(' '))])
}

/** The servers of a cluster talk on a second port. The usual one, 10000 above, is none for the last of the free ports. */
export function busPort (port: number): number {
  return port - 10_000
}

async function ping (port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    socket.write('PING\r\n')
    const [answer] = await once(socket, 'data')
    if (!String(answer).startsWith('+PONG')) throw new Error(String(answer))
  } finally {
    socket.destroy()
  }
}
