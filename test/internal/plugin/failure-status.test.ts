import type { FastifyReply } from 'fastify'
import t from 'tap'
import { Outage } from '../../../lib/internal/plugin/ask.ts'
import { failureStatus } from '../../../lib/internal/plugin/failure-status.ts'

const replyWith = (statusCode: number) => ({ statusCode }) as FastifyReply

t.test('the status is that of the error, otherwise that of the reply, otherwise 500', async t => {
  const rows: ReadonlyArray<readonly [thrown: unknown, reply: number, status: number]> = [
    [{ statusCode: 403 }, 200, 403],
    [{ status: 403 }, 200, 403],
    [{ statusCode: 403, status: 404 }, 200, 403],
    [{ statusCode: 200, status: 404 }, 401, 404],
    [{ statusCode: 302 }, 401, 401],
    [{ statusCode: '418' }, 200, 418],
    [{ statusCode: 'x', status: null }, 200, 500],
    [{ statusCode: 399 }, 200, 500],
    [{ statusCode: 400 }, 200, 400],
    [{ statusCode: 599 }, 200, 599],
    [{ statusCode: 600 }, 200, 500],
    [{ statusCode: 404.5 }, 200, 500],
    [new Error('no status'), 429, 429],
    [new Error('no status'), 200, 500],
    [null, 200, 500],
    [undefined, 403, 403],
    ['text', 200, 500]
  ]
  for (const [thrown, reply, status] of rows) t.equal(failureStatus(thrown, replyWith(reply)), status, JSON.stringify([thrown, reply]))
})

t.test('an outage is a 500, whatever status the adapter or the reply has', async t => {
  t.equal(failureStatus(new Outage('users.get', Object.assign(new Error('down'), { statusCode: 401 })), replyWith(401)), 500)
})
