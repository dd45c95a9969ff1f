/** How many deliveries of each client are in hand, so that a client that hangs does not take all the places. */
export interface ClientSlots {
  /**
   * Takes a place for a delivery and returns the function that gives it back. If there is none, returns the milliseconds after
   * which the delivery should try again.
   */
  take (clientId: string, id: string): number | (() => void)
}

interface Client {
  inHand: number
  /** How long an attempt takes, in milliseconds. */
  duration: number
  /** The ids of deliveries that were sent away, and when they come back. */
  readonly sentAway: Map<string, number>
  /** When those that did not come back were last forgotten. */
  swept: number
}

const shortestWait = 50
const longestWait = 30_000
const overdue = 2000
const usualDuration = 100

/** @param most the places of each client */
export function clientSlots (most: number): ClientSlots {
  const clients = new Map<string, Client>()

  const release = (clientId: string, client: Client, start: number): void => {
    client.inHand--
    client.duration = (3 * client.duration + performance.now() - start) / 4
    if (client.inHand === 0 && client.sentAway.size === 0) clients.delete(clientId)
  }

  return {
    take (clientId, id) {
      const client = clients.get(clientId) ?? { inHand: 0, duration: usualDuration, sentAway: new Map(), swept: 0 }
      clients.set(clientId, client)
      const now = performance.now()
      client.sentAway.delete(id)
      if (client.inHand >= most) return sendAway(client, id, { now, most })
      client.inHand++
      return () => release(clientId, client, now)
    }
  }
}

/**
 * The more there are, the longer they wait: spread at random, so that they come back about twice as fast as the client takes
 * them. Whoever comes back in vain does not have to stand at the end again.
 */
function sendAway (client: Client, id: string, { now, most }: { readonly now: number, readonly most: number }): number {
  const { sentAway, duration } = client
  if (now - client.swept >= overdue) forgetOverdue(client, now)
  const wait = shortestWait + Math.random() * Math.min((sentAway.size + 1) * duration / most, longestWait)
  sentAway.set(id, now + wait)
  return wait
}

/** Another process has got those that did not come back. */
function forgetOverdue (client: Client, now: number): void {
  client.swept = now
  for (const [id, time] of client.sentAway) if (time + overdue < now) client.sentAway.delete(id)
}
