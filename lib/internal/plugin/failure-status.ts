import type { FastifyReply } from 'fastify'
import { Outage } from './ask.ts'

/**
 * The status, 400 to 599, of whatever was thrown on the way to a response. An {@link Outage} is a 500, whatever status the
 * adapter's error has. Errors of the host's hooks say it themselves, as `statusCode` or `status`, or by `reply.code`.
 */
export function failureStatus (thrown: unknown, reply: FastifyReply): number {
  if (thrown instanceof Outage) return 500
  const { statusCode, status } = Object(thrown)
  return [statusCode, status, reply.statusCode].map(Number).find(isErrorStatus) ?? 500
}

function isErrorStatus (status: number): boolean {
  return Number.isInteger(status) && status >= 400 && status <= 599
}
