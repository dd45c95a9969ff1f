/**
 * Counts the calls of these methods of a client, and how many of them wait for another one: calls that are sent at the same
 * time are one round trip.
 */
export function countRoundTrips (client, methods) {
  let [commands, roundTrips, unanswered] = [0, 0, 0]
  for (const method of methods) {
    const call = client[method]
    client[method] = function (...values) {
      commands += 1
      if (unanswered++ === 0) roundTrips += 1
      const answer = call.apply(this, values)
      const settled = () => { unanswered -= 1 }
      Promise.resolve(answer).then(settled, settled)
      return answer
    }
  }
  return () => ({ commands, roundTrips })
}

/** Sends one request to a server of this process, and resolves to what it took of the client. */
export async function roundTripsOf (count, url, { method, path, headers, body }) {
  const before = count()
  const response = await fetch(`${url}${path}`, { method, headers, body })
  await response.arrayBuffer()
  const after = count()
  return { commands: after.commands - before.commands, roundTrips: after.roundTrips - before.roundTrips }
}
