import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import type { Test } from 'tap'

/** A port in front of a server, whose traffic a test can break in the ways in which networks break. */
export interface TcpProxy {
  readonly port: number
  /** How many clients are connected. */
  connections (): number
  /** Closes every connection, and each new one at once, until `heal`. */
  cut (): void
  /** Closes each connection with this probability: as it is now, and each new one while it is set. */
  cutAtRandom (probability: number): void
  /**
   * Swallows every byte in both directions until `heal`. Connections stay open, and new ones are accepted: nobody gets an
   * error. What was swallowed is lost for good, so a connection that lost something never works again.
   */
  swallow (): void
  /** New connections lead to another port, as a name does that is given to another server; those that are open stay where they are. */
  leadTo (port: number): void
  /** Forwards again. A connection from which something was swallowed stays silent, as one does whose state a firewall forgot. */
  heal (): void
}

type Mode = 'forward' | 'cut' | 'swallow'

/** Puts a proxy in front of a port of 127.0.0.1. It ends with the test. */
export async function tcpProxy (t: Test, target: number): Promise<TcpProxy> {
  const pairs = new Set<Pair>()
  let mode: Mode = 'forward'
  let probability = 0
  let port = target

  const server = createServer(near => {
    if (mode === 'cut' || Math.random() < probability) {
      near.destroy()
      return
    }
    const pair = joined(near, connect(port, '127.0.0.1'), () => mode)
    pairs.add(pair)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')

  const proxy: TcpProxy = {
    port: portOf(server.address()),
    connections: () => [...pairs].filter(({ near }) => !near.destroyed).length,
    cut () {
      mode = 'cut'
      for (const pair of pairs) pair.destroy()
    },
    cutAtRandom (chosen) {
      probability = chosen
      for (const pair of pairs) if (Math.random() < chosen) pair.destroy()
    },
    swallow () { mode = 'swallow' },
    leadTo (other) { port = other },
    heal () {
      mode = 'forward'
      probability = 0
    }
  }
  t.teardown(() => {
    proxy.cut()
    server.close()
  })
  return proxy
}

interface Pair {
  readonly near: Socket
  destroy (): void
}

/** Copies what either side sends to the other, its end included, as long as nothing was swallowed between them. */
function joined (near: Socket, far: Socket, mode: () => Mode): Pair {
  let silent = mode() === 'swallow'
  const destroy = () => {
    near.destroy()
    far.destroy()
  }
  for (const [from, to] of [[near, far], [far, near]] as const) {
    from.setNoDelay(true)
    from.on('data', bytes => {
      silent ||= mode() === 'swallow'
      if (!silent) to.write(bytes)
    })
    from.on('error', () => {})
    from.on('close', () => {
      silent ||= mode() === 'swallow'
      if (!silent) to.destroy()
    })
  }
  return { near, destroy }
}

function portOf (address: ReturnType<ReturnType<typeof createServer>['address']>): number {
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port')
  return address.port
}
