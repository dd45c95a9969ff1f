import type { StatusChange } from '../../user-status-store.ts'
import { assertTime, idText, isWellFormed } from './id.ts'

/**
 * Checks when and by which request a status changes, for every store alike.
 *
 * @throws {TypeError} for a time that is not whole epoch milliseconds, and for a request id that some backend cannot keep.
 */
export function checkedChange ({ at, requestId }: Omit<StatusChange, 'status'>): Omit<StatusChange, 'status'> {
  assertTime(at, 'the time of a status change')
  const request = idText(requestId, 'the request id of a status change')
  if (!isWellFormed(request)) throw new TypeError('the request id of a status change must be well-formed Unicode without NUL')
  return { at, requestId: request }
}
