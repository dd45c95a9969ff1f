import { EventEmitter } from 'node:events'
import t from 'tap'
import type { PostgresStatement } from '../../../lib/internal/databases/postgres-connection.ts'
import { revocationFeedStatements, revocationNames } from '../../../lib/internal/databases/postgres-revocation-sql.ts'
import { listen } from '../../../lib/internal/feeds/postgres-listening.ts'

const statements = revocationFeedStatements(revocationNames('marks', 'test'))
const row = { id: 'tt', issuer: '', tenant: '', except: '', cutoff: 1, until: 2 }

/** A connection of which a test sees what it is asked and whether it was given back. */
function fakeConnection (failing?: string) {
  const events = new EventEmitter()
  const asked: PostgresStatement[] = []
  const released: unknown[] = []
  const connection = Object.assign(events, {
    async query (statement: PostgresStatement) {
      asked.push(statement)
      if (statement.text === failing) throw new Error('no')
      return { rows: [{ server: 'here', value: asked.length }] }
    },
    release (destroy?: boolean) { released.push(destroy) }
  })
  return { connection, asked, released, send: (payload: string) => events.emit('notification', { payload }) }
}

t.test('it listens first, and then learns which server it is', async t => {
  const { connection, asked } = fakeConnection()
  const listening = await listen(connection, statements, new AbortController().signal)
  t.same(asked.map(({ text }) => text), [statements.listen, statements.server])
  t.equal(listening.server, 'here')
  const other = await listen(fakeConnection().connection, statements, new AbortController().signal)
  t.not(listening.session, other.session)
})

t.test('statements are planned once, and resolve to their rows', async t => {
  const { connection, asked } = fakeConnection()
  const { run } = await listen(connection, statements, new AbortController().signal)
  t.match(await run('lastHeartbeat', 'h1'), [{ value: 3 }])
  t.match(asked[2], { name: /^fastify_logout_/, text: statements.lastHeartbeat, values: ['h1'] })
})

t.test('marks that are sent are news; what cannot be read means that some are missing', async t => {
  const { connection, send } = fakeConnection()
  const { takeNews, wait } = await listen(connection, statements, new AbortController().signal)
  send(JSON.stringify([row, { ...row, id: 'ss' }]))
  await wait(60_000)
  t.same(takeNews(), { items: [{ tokenId: 't', until: 2 }, { sessionId: 's', until: 2 }], isWhole: true })
  for (const payload of ['', '{}', '[1]']) {
    send(payload)
    t.same(takeNews(), { items: [], isWhole: false }, payload)
  }
})

t.test('a lost connection ends the waiting', async t => {
  for (const event of ['error', 'end']) {
    const { connection } = fakeConnection()
    const { wait } = await listen(connection, statements, new AbortController().signal)
    const waiting = t.rejects(wait(60_000))
    connection.emit(event, new Error('lost'))
    await waiting
  }
})

t.test('when it is given up, or cannot listen, the connection is closed once and nothing more is heard', async t => {
  const stop = new AbortController()
  const { connection, released, send } = fakeConnection()
  const { wait, takeNews } = await listen(connection, statements, stop.signal)
  const waiting = t.rejects(wait(60_000))
  stop.abort()
  await waiting
  send(JSON.stringify([row]))
  t.same([released, takeNews().items, connection.listenerCount('notification')], [[true], [], 0])

  for (const failing of [statements.listen, statements.server]) {
    const failed = fakeConnection(failing)
    const later = new AbortController()
    await t.rejects(listen(failed.connection, statements, later.signal), { message: 'no' })
    t.same(failed.released, [true])
    later.abort()
    t.same(failed.released, [true])
  }

  const during = new AbortController()
  const cut = fakeConnection(statements.server)
  const { query } = cut.connection
  cut.connection.query = async statement => {
    if (statement.text === statements.server) during.abort()
    return query(statement)
  }
  await t.rejects(listen(cut.connection, statements, during.signal))
  t.same(cut.released, [true])
})
