import type { FastifyReply } from 'fastify'
import { EventEmitter } from 'node:events'
import t from 'tap'
import { whenUsed } from '../../../lib/internal/tenant-status/use.ts'

/** A reply, as far as it is watched, and how often its request was counted. */
function watched () {
  const raw = Object.assign(new EventEmitter(), { headersSent: false, statusCode: 200 })
  const calls = { counted: 0, hijacked: 0 }
  const hijack = function (this: unknown) { calls.hijacked++; return this }
  const reply = { raw, hijack } as unknown as FastifyReply
  whenUsed(reply, () => { calls.counted++ })
  const end = (...events: readonly string[]) => { for (const event of events) raw.emit(event) }
  return { raw, reply, calls, end, hijack }
}

t.test('whether a completed response counts depends on its status, and it counts once', async t => {
  for (const [status, counts] of [
    [200, 1], [304, 1], [400, 1], [401, 0], [403, 1], [429, 0], [499, 1], [500, 0], [503, 0], [101, 0]
  ] as const) {
    for (const events of [['finish', 'close'], ['finish'], ['close'], ['close', 'finish']]) {
      const { raw, calls, end } = watched()
      raw.headersSent = true
      raw.statusCode = status
      end(...events)
      t.equal(calls.counted, counts, `${status}: ${events.join(', ')}`)
      t.equal(raw.listenerCount('finish') + raw.listenerCount('close'), 0, 'and it is watched no longer')
    }
  }
})

t.test('a connection that ends before the response counts', async t => {
  const { calls, end } = watched()
  end('close')
  t.equal(calls.counted, 1)
})

t.test('a hijacked reply counts at once, and is hijacked', async t => {
  const { raw, reply, calls, end, hijack } = watched()
  t.equal(reply.hijack(), reply)
  t.strictSame(calls, { counted: 1, hijacked: 1 })
  t.equal(reply.hijack, hijack)
  raw.headersSent = true
  end('finish', 'close')
  t.equal(calls.counted, 1)
})
