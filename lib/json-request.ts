/** What {@link requestJson} keeps to. */
export interface RequestLimits {
  /** The host's own `fetch`, behind a proxy for instance, or the global one. */
  readonly fetch: typeof globalThis.fetch
  /** From the first byte sent to the last byte read, in milliseconds. */
  readonly deadline: number
  /** The longest body that is read, in bytes after decompression. */
  readonly maxLength: number
}

/** A request without a signal or a way to follow redirects: these are not the caller's to choose. */
export interface JsonRequest {
  readonly method?: 'POST'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: URLSearchParams
}

/**
 * Asks and reads JSON. Rejects with what went wrong, without a word of the request or the answer: a status other than
 * 200, a redirect, a body that is too long or no JSON, no connection, or no end before the deadline, whatever `fetch` does.
 */
export function requestJson (limits: RequestLimits, url: string, request: JsonRequest = {}): Promise<unknown> {
  const abort = new AbortController()
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new Error(`no answer within ${limits.deadline} ms`))
      abort.abort()
    }, limits.deadline)
    const headers = { accept: 'application/json', ...request.headers }
    readJson(limits, url, { ...request, headers, redirect: 'manual', signal: abort.signal })
      .then(resolve, reject)
      .finally(() => clearTimeout(timer))
  })
}

async function readJson ({ fetch, maxLength }: RequestLimits, url: string, init: RequestInit): Promise<unknown> {
  const response = await fetch(url, init)
  if (response.status !== 200 || response.redirected) {
    await response.body?.cancel()
    throw new Error(response.redirected ? 'the answer came by a redirect' : `answered with status ${response.status}`)
  }
  const text = await readText(response, maxLength)
  try {
    return JSON.parse(text)
  } catch {
    throw new Error('the answer is not JSON')
  }
}

async function readText (response: Response, maxLength: number): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of response.body ?? []) {
    length += chunk.length
    if (length > maxLength) throw new Error(`the answer is longer than ${maxLength} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}
