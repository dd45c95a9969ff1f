import { assertFunction, assertGroup, duration, wholeNumber } from '../plugin/options.ts'

/** The limits of {@link requestJson}. */
export interface RequestLimits {
  /** The host's own `fetch`, for example one that uses a proxy, or the global one. */
  readonly fetch: typeof globalThis.fetch
  /** From the first byte sent to the last byte read, in milliseconds. */
  readonly timeout: number
  /** The longest body to read, in bytes after decompression. */
  readonly maxLength: number
}

/** How requests are made. */
export interface HttpOptions {
  /** For each request, from the first byte to the last, in milliseconds. @default 5000 */
  readonly timeout?: number | undefined
  /** The longest response that is read, in bytes. @default 262144 for `jwksVerifier`, 65536 for `introspectionVerifier` */
  readonly maxResponseLength?: number | undefined
  /** Replaces the global `fetch`, for a proxy or a private certificate authority. @default globalThis.fetch */
  readonly fetch?: typeof globalThis.fetch | undefined
}

/** The members of {@link HttpOptions}: beside the option `http` they would have no effect. */
export const httpMembers: ReadonlyArray<keyof HttpOptions> = ['timeout', 'maxResponseLength', 'fetch']

/**
 * Returns the limits of the option `http`.
 *
 * @throws {TypeError} for a member that is wrong
 */
export function requestLimits (options: HttpOptions = {}, longest: number, caller: string): RequestLimits {
  assertGroup(options, caller, 'http', '{ timeout, fetch }')
  const { fetch = globalThis.fetch, timeout, maxResponseLength } = options
  assertFunction(fetch, caller, 'http.fetch')
  return {
    fetch,
    timeout: duration(timeout, 5000, caller, 'http.timeout'),
    maxLength: wholeNumber(maxResponseLength, caller, 'http.maxResponseLength', { standard: longest, least: 1 })
  }
}

/** A request. The caller chooses neither a signal nor whether redirects are followed. */
export interface JsonRequest {
  readonly method?: 'POST'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: URLSearchParams
  /** A status other than 200 whose body is read. */
  readonly alsoRead?: number
}

/** A response whose body was read. */
export interface JsonResponse {
  readonly status: number
  readonly json: unknown
}

/**
 * Sends a request and reads JSON. Rejects for another status, a redirect, a body that is too long or not JSON, without a
 * connection, and after the timeout, whatever `fetch` does. The error repeats nothing of the request or the response.
 */
export function requestJson (limits: RequestLimits, url: string, { alsoRead, ...request }: JsonRequest = {}): Promise<JsonResponse> {
  const abort = new AbortController()
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new Error(`no answer within ${limits.timeout} ms`))
      abort.abort()
    }, limits.timeout)
    const headers = { accept: 'application/json', ...request.headers }
    const ask = async () => limits.fetch(url, { ...request, headers, redirect: 'manual', signal: abort.signal })
    ask()
      .then(response => readJson(response, limits.maxLength, [200, alsoRead]))
      .then(resolve, reject)
      .finally(() => clearTimeout(timer))
  })
}

async function readJson (response: Response, maxLength: number, readable: ReadonlyArray<number | undefined>): Promise<JsonResponse> {
  const { status, redirected, body } = response
  if (redirected || !readable.includes(status)) {
    await body?.cancel()
    throw new Error(redirected ? 'the response is a redirect' : `the response has status ${status}`)
  }
  const text = await readText(body, maxLength)
  try {
    return { status, json: JSON.parse(text) }
  } catch {
    throw new Error('the response is not JSON')
  }
}

async function readText (body: Response['body'], maxLength: number): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of body ?? []) {
    length += chunk.length
    if (length > maxLength) throw new Error(`the response is longer than ${maxLength} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}
