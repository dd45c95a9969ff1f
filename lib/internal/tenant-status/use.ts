import type { FastifyReply } from 'fastify'

/**
 * Calls `counted` at most once, when a request turns out to be use: its response ends with a status other than 401, 429
 * and 5xx, or a handler takes the connection over (a WebSocket, for example), or the connection ends before the response does.
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
  // Fastify calls no hook for a reply that is hijacked, and the connection may stay open for hours.
  reply.hijack = () => {
    settle(true)
    return hijack.call(reply)
  }
}

function showsUse (status: number): boolean {
  return status >= 200 && status < 500 && status !== 401 && status !== 429
}
