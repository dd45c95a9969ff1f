import { randomInt } from 'node:crypto'

/** Writes a new value and resolves to it once it is written. */
export type Heartbeat = () => Promise<string>

/**
 * Writes heartbeats, each with a new value: the digits of a whole number.
 *
 * The next one is written only after the last one has settled, however long that takes, so that a client whose connection
 * fell silent does not gather them. Of several that wait for that, the latest is written, and the others reject.
 */
export function heartbeat (write: (value: string) => Promise<unknown>): Heartbeat {
  let settled: Promise<unknown> = Promise.resolve()
  let latest = ''

  return async () => {
    const value = latest = `${randomInt(2 ** 47)}`
    await settled
    if (value !== latest) throw new Error('the last heartbeat was not answered in time')
    const written = write(value)
    settled = written.catch(() => {})
    await written
    return value
  }
}
