// The stores of the hand-written handlers: one row for each session by the digest of its token, logged out in one
// operation, answering what it was before.
import { hash } from 'node:crypto'
import { openClient } from './clients.js'

/** Opens the hand-written table of sessions at this kind of store. */
export async function sessionTable (store) {
  const table = await tables[store.kind](store.kind === 'memory' ? undefined : await openClient(store))
  return {
    seed: entries => table.seed(entries.map(({ token, session }) => ({ digest: digestOf(token), session }))),
    logOut: token => table.logOut(digestOf(token))
  }
}

function digestOf (token) {
  return hash('sha256', token, 'base64url')
}

const tables = {
  memory: () => {
    const sessions = new Map()
    return {
      seed: (entries) => {
        for (const { digest, session } of entries) sessions.set(digest, { ...session, status: 'active' })
      },
      logOut: (digest) => {
        const session = sessions.get(digest)
        if (session === undefined || session.keepUntil <= Date.now()) return undefined
        const before = { ...session }
        session.status = 'logged_out'
        return before
      }
    }
  },

  redis: (redis) => {
    redis.defineCommand('logOutSession', {
      numberOfKeys: 1,
      lua: `
local session = redis.call('HGETALL', KEYS[1])
if #session > 0 then redis.call('HSET', KEYS[1], 'status', 'logged_out') end
return session`
    })
    return {
      seed: (entries) => Promise.all(entries.map(({ digest, session }) => redis.multi()
        .hset(`session:${digest}`, { ...session, status: 'active' }).pexpireat(`session:${digest}`, session.keepUntil).exec())),
      logOut: async (digest) => {
        const fields = await redis.logOutSession(`session:${digest}`)
        if (fields.length === 0) return undefined
        const row = {}
        for (let index = 0; index < fields.length; index += 2) row[fields[index]] = fields[index + 1]
        return { id: row.id, subject: row.subject, status: row.status, createdAt: Number(row.createdAt), expiresAt: Number(row.expiresAt), keepUntil: Number(row.keepUntil) }
      }
    }
  },

  postgres: async (pool) => {
    await pool.query(`CREATE TABLE IF NOT EXISTS hand_sessions (
      digest text PRIMARY KEY, id text UNIQUE NOT NULL, subject text NOT NULL, status text NOT NULL,
      created_at bigint NOT NULL, expires_at bigint NOT NULL, keep_until bigint NOT NULL)`)
    return {
      seed: (entries) => pool.query(`
        INSERT INTO hand_sessions (digest, id, subject, status, created_at, expires_at, keep_until)
        SELECT digest, id, subject, 'active', $4, $5, $6 FROM unnest($1::text[], $2::text[], $3::text[]) AS row (digest, id, subject)`, [
        entries.map(({ digest }) => digest), entries.map(({ session }) => session.id), entries.map(({ session }) => session.subject),
        entries[0].session.createdAt, entries[0].session.expiresAt, entries[0].session.keepUntil
      ]),
      logOut: async (digest) => {
        const { rows: [row] } = await pool.query(`
          WITH before AS (SELECT * FROM hand_sessions WHERE digest = $1 AND keep_until > $2 FOR UPDATE),
          written AS (UPDATE hand_sessions SET status = 'logged_out' WHERE digest = $1 AND status = 'active')
          SELECT * FROM before`, [digest, Date.now()])
        return row && sessionOf(row)
      }
    }
  },

  // MySQL returns nothing from what it writes: whether this call ended the session is in the number of rows that it changed.
  mysql: async (pool) => {
    await pool.query(`CREATE TABLE IF NOT EXISTS hand_sessions (
      digest varchar(64) COLLATE utf8mb4_bin PRIMARY KEY, id varchar(64) COLLATE utf8mb4_bin UNIQUE NOT NULL, subject varchar(64) NOT NULL,
      status varchar(16) NOT NULL, created_at bigint NOT NULL, expires_at bigint NOT NULL, keep_until bigint NOT NULL)`)
    return {
      seed: async (entries) => {
        for (let from = 0; from < entries.length; from += 1000) {
          await pool.query('INSERT INTO hand_sessions VALUES ?', [entries.slice(from, from + 1000).map(({ digest, session }) => [
            digest, session.id, session.subject, 'active', session.createdAt, session.expiresAt, session.keepUntil
          ])])
        }
      },
      logOut: async (digest) => {
        const [[row]] = await pool.execute('SELECT * FROM hand_sessions WHERE digest = ? AND keep_until > ?', [digest, Date.now()])
        if (row === undefined) return undefined
        const [{ affectedRows }] = await pool.execute(
          'UPDATE hand_sessions SET status = \'logged_out\' WHERE digest = ? AND status = \'active\'', [digest])
        return { ...sessionOf(row), status: affectedRows === 1 ? 'active' : 'logged_out' }
      }
    }
  },

  sqlite: (database) => {
    database.exec(`CREATE TABLE IF NOT EXISTS hand_sessions (
      digest TEXT PRIMARY KEY, id TEXT UNIQUE NOT NULL, subject TEXT NOT NULL, status TEXT NOT NULL,
      created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, keep_until INTEGER NOT NULL) WITHOUT ROWID`)
    const read = database.prepare('SELECT * FROM hand_sessions WHERE digest = ? AND keep_until > ?')
    const write = database.prepare('UPDATE hand_sessions SET status = \'logged_out\' WHERE digest = ? AND status = \'active\'')
    const insert = database.prepare('INSERT INTO hand_sessions VALUES (?, ?, ?, \'active\', ?, ?, ?)')
    const logOut = database.transaction((digest) => {
      const row = read.get(digest, Date.now())
      if (row === undefined) return undefined
      write.run(digest)
      return sessionOf(row)
    })
    return {
      seed: database.transaction((entries) => {
        for (const { digest, session } of entries) insert.run(digest, session.id, session.subject, session.createdAt, session.expiresAt, session.keepUntil)
      }),
      logOut: digest => logOut.immediate(digest)
    }
  }
}

function sessionOf (row) {
  return { id: row.id, subject: row.subject, status: row.status, createdAt: Number(row.created_at), expiresAt: Number(row.expires_at), keepUntil: Number(row.keep_until) }
}
