import type { FastifyReply } from 'fastify'

/**
 * Calls `counted` at most once, as soon as a request counts as use: its response ends with a status other than 401, 429 and
 * 5xx, a handler takes the connection over (for example a WebSocket), or the connection ends before the response does.
 */
export function whenUsed (reply: FastifyReply, counted: () => void): void {
  const { raw, hijack } = reply
  const settle = (isUse: boolean): void => {
    raw.off('finish', onEnd).off('close', onEnd)
    reply.hijack = hijack
    if (isUse) counted()
  }
  const onEnd = (): void => settle(!raw.headersSent || showsUse(raw.statusCode))

  raw.on('finish', onEnd).on('close', onEnd)
  // Fastify calls no hook for a hijacked reply, and the connection may stay open for hours.
  reply.hijack = () => {
    settle(true)
    return hijack.call(reply)
  }
}

function showsUse (status: number): boolean {
  return status >= 200 && status < 500 && status !== 401 && status !== 429
}
