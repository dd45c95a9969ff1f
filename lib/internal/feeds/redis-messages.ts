import type { StreamEntry } from '../databases/redis-connection.ts'
import { inbox, type Inbox } from './inbox.ts'

/** The messages that have come, and which was the last one. */
export interface MessageBox extends Pick<Inbox<StreamEntry>, 'take' | 'wait' | 'end'> {
  put (message: string): void
  /** Notes that an entry was found whose message must come. */
  expect (entry: string): void
  /** Throws when the message of an entry that was found has not come for a second. */
  assertDelivery (): void
}

/** What is published and has not come after so many milliseconds will not come. */
const longestDelivery = 1000

/** So many messages wait to be taken, each of up to 200 marks. More than these are read from the stream. */
const mostMessages = 1000

/** An empty {@link MessageBox}. */
export function messageBox (): MessageBox {
  const { put, lose, take, wait, end } = inbox<StreamEntry>(mostMessages)
  let heard = '0-0'
  // The first entry whose message is due, and since when.
  let due: { readonly entry: string, readonly since: number } | undefined

  return {
    put (message) {
      const entry = entryOfMessage(message)
      if (entry === undefined) return lose()
      heard = entry.id
      put(entry)
    },
    expect (entry) {
      due ??= { entry, since: performance.now() }
    },
    assertDelivery () {
      if (due !== undefined && !isLater(due.entry, heard)) due = undefined
      if (due !== undefined && performance.now() - due.since > longestDelivery) throw new Error('what is published does not arrive')
    },
    take,
    wait,
    end
  }
}

/** An entry as the store's script publishes it: `id behind name marks`. */
function entryOfMessage (message: string): StreamEntry | undefined {
  const [, id, behind, name, marks] = /^(\d+-\d+) (\S*) (\S+) (\[.*)$/.exec(message) ?? []
  if (id === undefined || behind === undefined || name === undefined || marks === undefined) return undefined
  return { id, fields: { behind, name, marks } }
}

/** Whether each entry names the one before it, and the first one the entry of this name. */
export function isChain (name: string, entries: readonly StreamEntry[]): boolean {
  let before: string | undefined = name
  for (const { fields } of entries) {
    if (fields['behind'] !== before) return false
    before = fields['name']
  }
  return true
}

/** Whether an entry of a stream is later than another one, by their ids. */
export function isLater (id: string, than: string): boolean {
  const [time = 0, count = 0] = id.split('-').map(Number)
  const [otherTime = 0, otherCount = 0] = than.split('-').map(Number)
  return time === otherTime ? count > otherCount : time > otherTime
}
