// The floor under replicas: so many connections that only listen while one message is sent, and that write one row now and then.
// A message may come with a row, which is stored in the same commit: the least that a mark takes which is also kept.
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { openClient } from './clients.js'

/** As often as a replica proves that it is complete, in milliseconds. */
const interval = 1500
const hour = 3_600_000
/** As long as what is sent for one mark. */
const message = 'x'.repeat(120)

export default async function ({ store, count, kept = false }) {
  const { listen, write, send, keep } = await kinds[store.kind](store)
  const sendOne = kept ? keep : send
  const listeners = await Promise.all(Array.from({ length: count }, listen))
  const writers = await Promise.all(Array.from({ length: count }, async () => write(randomUUID())))
  for (const [index, writeOnce] of writers.entries()) {
    setTimeout(() => setInterval(() => { writeOnce() }, interval), index * interval / count)
  }
  return {
    run: async ({ marks, pause }) => {
      for (let index = 0; index < marks; index++) {
        const heard = Promise.all(listeners.map(hear => hear()))
        await sendOne()
        await heard
        await sleep(pause)
      }
    }
  }
}

/** For each kind of server: a new connection that listens, another one that writes, and one that sends, with a row or without. */
const kinds = {
  redis: async store => {
    const sender = await openClient(store)
    return {
      listen: async () => {
        const client = await openClient(store)
        await client.subscribe('bare')
        return () => once(client, 'message')
      },
      write: async name => {
        const client = await openClient(store)
        return () => client.set(name, 1, 'PX', 60_000)
      },
      send: () => sender.publish('bare', message),
      keep: () => sender.multi().set(`bare:${randomUUID()}`, message, 'PX', hour).publish('bare', message).exec()
    }
  },

  postgres: async store => {
    const pool = await openClient(store)
    await pool.query('CREATE TABLE IF NOT EXISTS bare (name text PRIMARY KEY, value bigint) WITH (fillfactor = 90)')
    await pool.query('CREATE TABLE IF NOT EXISTS bare_mark (id text PRIMARY KEY, until bigint)')
    const connect = async () => (await openClient(store)).connect()
    return {
      listen: async () => {
        const connection = await connect()
        await connection.query('LISTEN bare')
        return () => once(connection, 'notification')
      },
      write: async name => {
        const connection = await connect()
        await pool.query('INSERT INTO bare VALUES ($1, 0)', [name])
        return () => connection.query({ name: 'write', text: 'UPDATE bare SET value = value + 1 WHERE name = $1', values: [name] })
      },
      send: () => pool.query('SELECT pg_notify($1, $2)', ['bare', message]),
      keep: () => pool.query('WITH kept AS (INSERT INTO bare_mark VALUES ($3, $4) RETURNING 1) SELECT pg_notify($1, $2) FROM kept', [
        'bare', message, randomUUID(), Date.now() + hour
      ])
    }
  }
}
