import { retryAfterOf } from '../http/retry-after.ts'

/** How a transmitter is asked for events. */
export interface PollRequest {
  readonly fetch: typeof globalThis.fetch
  readonly endpoint: string
  /** The `Authorization` header. */
  readonly authorization: string
  readonly body: PollBody
  /** From the first byte sent to the last byte read, in milliseconds. */
  readonly timeout: number
  /** Cuts the request. */
  readonly signal: AbortSignal
}

/** What is asked for, and what became of the tokens that came before. */
export interface PollBody {
  readonly maxEvents: number
  readonly returnImmediately: boolean
  readonly ack: readonly string[]
  readonly setErrs: Readonly<Record<string, { readonly err: string, readonly description: string }>>
}

/** A token, and the `jti` that the transmitter announces for it. */
export type PolledToken = readonly [jti: string, token: unknown]

/** A poll that failed. */
export class PollFailure extends Error {
  override readonly name = 'PollFailure'
  readonly status: number | undefined
  /** How long the transmitter asks us to wait, in milliseconds. */
  readonly retryAfter: number | undefined

  constructor (message: string, answer?: { readonly status: number, readonly retryAfter: number | undefined }) {
    super(message)
    this.status = answer?.status
    this.retryAfter = answer?.retryAfter
  }
}

const maxLength = 1024 * 1024

/**
 * Asks a transmitter for events. `timeout`: it did not answer in time, as happens to long polls. Rejects for every other
 * answer than events; the error repeats nothing of it.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8936#section-2
 */
export function poll (request: PollRequest): Promise<readonly PolledToken[] | 'timeout'> {
  const cut = new AbortController()
  const abort = () => cut.abort()
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    abort()
  }, request.timeout)
  request.signal.addEventListener('abort', abort)
  if (request.signal.aborted) abort()
  const inTime = answerOf(request, cut.signal).catch((error: unknown) => {
    if (isLate) return 'timeout' as const
    throw error
  })
  return inTime.finally(() => {
    clearTimeout(timer)
    request.signal.removeEventListener('abort', abort)
  })
}

async function answerOf ({ fetch, endpoint, authorization, body }: PollRequest, signal: AbortSignal): Promise<readonly PolledToken[]> {
  const { maxEvents, returnImmediately, ack, setErrs } = body
  const response = await fetch(endpoint, {
    method: 'POST',
    headers: { accept: 'application/json', 'content-type': 'application/json', authorization },
    body: JSON.stringify({
      maxEvents, returnImmediately, ...(ack.length > 0 && { ack }), ...(Object.keys(setErrs).length > 0 && { setErrs })
    }),
    redirect: 'manual',
    signal
  })
  if (response.status !== 200) {
    await response.body?.cancel()
    const retryAfter = retryAfterOf(response.headers.get('retry-after'))
    throw new PollFailure(`the transmitter responded with status ${response.status}`, { status: response.status, retryAfter })
  }
  return setsOf(await readText(response.body))
}

async function readText (body: Response['body']): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of body ?? []) {
    length += chunk.length
    if (length > maxLength) throw new PollFailure('the response is longer than 1 MiB')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

function setsOf (text: string): readonly PolledToken[] {
  const { sets } = Object(parsed(text))
  if (typeof sets !== 'object' || sets === null || Array.isArray(sets)) throw new PollFailure('the response has no object of sets')
  return Object.entries(sets)
}

function parsed (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new PollFailure('the response is not JSON')
  }
}
