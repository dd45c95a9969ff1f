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
  /** The ids of deliveries that were sent away, and when. */
  readonly sentAway: Map<string, number>
}

const shortestWait = 50
const longestWait = 30_000
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
      const client = clients.get(clientId) ?? { inHand: 0, duration: usualDuration, sentAway: new Map() }
      clients.set(clientId, client)
      const now = performance.now()
      client.sentAway.delete(id)
      if (client.inHand >= most) return sendAway(client, id, { now, most })
      client.inHand++
      return () => release(clientId, client, now)
    }
  }
}

/** The more there are, the longer each waits: they come back about as fast as the client takes them. */
function sendAway ({ sentAway, duration }: Client, id: string, { now, most }: { readonly now: number, readonly most: number }): number {
  forgetOld(sentAway, now)
  sentAway.set(id, now)
  return Math.min(Math.max(sentAway.size * duration / most, shortestWait), longestWait)
}

/** Those that another process got meanwhile. */
function forgetOld (sentAway: Map<string, number>, now: number): void {
  for (const [id, time] of sentAway) {
    if (time > now - 2 * longestWait) return
    sentAway.delete(id)
  }
}
