/** For how long a server may be silent before commands are refused, and how often one is sent nevertheless, in milliseconds. */
const longestSilence = 1000

/** Sends a command, or refuses it at once. */
export type SendBounded = <T>(command: () => Promise<T>) => Promise<T>

/**
 * Bounds what a client keeps for a server that is frozen or cut off. When 10,000 commands have no reply, and none has come
 * for a second, further ones are rejected at once. One command each second is sent all the same: its reply opens the way.
 *
 * A command that the client gave up (a timeout, a closed connection) counts as unanswered until a reply comes: the client
 * may still keep it. A busy server that replies is never refused anything.
 *
 * @param most how many commands may be unanswered: a client keeps 2 to 6 kB for each
 */
export function redisBacklog (now: () => number = () => performance.now(), most = 10_000): SendBounded {
  let waiting = 0
  let givenUp = 0
  let heard = 0
  let tried = 0

  function refuses (): boolean {
    if (waiting + givenUp < most || now() - heard <= longestSilence) return false
    if (now() - tried <= longestSilence) return true
    tried = now()
    return false
  }

  function hear (): void {
    givenUp = 0
    heard = now()
  }

  return async command => {
    if (waiting + givenUp === 0) heard = now()
    if (refuses()) throw new Error(`Redis: ${most} commands are unanswered`)
    waiting++
    return attempt(command).then(reply => {
      waiting--
      hear()
      return reply
    }, error => {
      waiting--
      if (isReply(error)) hear()
      else givenUp++
      throw error
    })
  }
}

/** An error that is thrown is a rejection. */
async function attempt<T> (command: () => Promise<T>): Promise<T> {
  return command()
}

/** Whether the server sent this error: its errors begin with a code in capitals. */
function isReply (error: unknown): boolean {
  return error instanceof Error && /^[A-Z]{2,} /.test(error.message)
}
