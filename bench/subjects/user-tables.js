// The stores of the hand-written handlers: one row for each user, logged out in one operation, answering what it was before.
import { randomUUID } from 'node:crypto'
import { openClient } from './clients.js'

/** Opens the hand-written table of users at this kind of store. */
export async function userTable (store) {
  return tables[store.kind](store.kind === 'memory' ? undefined : await openClient(store))
}

const tables = {
  memory: () => {
    const users = new Map()
    let writes = 0
    return {
      seed: (tenant, subjects) => {
        for (const subject of subjects) users.set(`${tenant}:${subject}`, { status: 'logged_in', version: ++writes, loggedOutAt: undefined })
      },
      logOut: (tenant, subject, at) => {
        const user = users.get(`${tenant}:${subject}`)
        if (user?.status !== 'logged_in' && user?.status !== 'logged_out') return user?.status
        const before = user.status
        Object.assign(user, { status: 'logged_out', version: ++writes, loggedOutAt: at })
        return before
      }
    }
  },

  redis: (redis) => {
    redis.defineCommand('logOutUser', {
      numberOfKeys: 1,
      lua: `
local status = redis.call('HGET', KEYS[1], 'status')
if status == 'logged_in' or status == 'logged_out' then
  redis.call('HSET', KEYS[1], 'status', 'logged_out', 'version', ARGV[1], 'loggedOutAt', ARGV[2], 'requestId', ARGV[3])
end
return status`
    })
    return {
      seed: (tenant, subjects) => Promise.all(subjects.map(subject => redis.hset(`user:${tenant}:${subject}`, 'status', 'logged_in', 'version', randomUUID()))),
      logOut: (tenant, subject, at, requestId) => redis.logOutUser(`user:${tenant}:${subject}`, randomUUID(), at, requestId)
    }
  },

  postgres: async (pool) => {
    await pool.query(`CREATE TABLE IF NOT EXISTS hand_users (
      tenant text, subject text, status text NOT NULL, version text NOT NULL, logged_out_at bigint, request_id text, PRIMARY KEY (tenant, subject))`)
    return {
      seed: (tenant, subjects) => pool.query(
        'INSERT INTO hand_users (tenant, subject, status, version) SELECT $1, subject, \'logged_in\', gen_random_uuid() FROM unnest($2::text[]) AS subject', [tenant, subjects]),
      logOut: async (tenant, subject, at, requestId) => {
        const { rows } = await pool.query(`
          WITH before AS (SELECT status FROM hand_users WHERE tenant = $1 AND subject = $2 FOR UPDATE),
          written AS (UPDATE hand_users SET status = 'logged_out', version = $3, logged_out_at = $4, request_id = $5
            WHERE tenant = $1 AND subject = $2 AND status IN ('logged_in', 'logged_out'))
          SELECT status FROM before`, [tenant, subject, randomUUID(), at, requestId])
        return rows[0]?.status
      }
    }
  },

  mysql: async (pool) => {
    await pool.query(`CREATE TABLE IF NOT EXISTS hand_users (
      tenant varchar(64) COLLATE utf8mb4_bin, subject varchar(64) COLLATE utf8mb4_bin, status varchar(16) NOT NULL, version varchar(36) NOT NULL,
      logged_out_at bigint, request_id varchar(64), PRIMARY KEY (tenant, subject))`)
    return {
      seed: async (tenant, subjects) => {
        for (let from = 0; from < subjects.length; from += 1000) {
          await pool.query('INSERT INTO hand_users (tenant, subject, status, version) VALUES ?',
            [subjects.slice(from, from + 1000).map(subject => [tenant, subject, 'logged_in', randomUUID()])])
        }
      },
      logOut: async (tenant, subject, at, requestId) => {
        const [[row]] = await pool.execute('SELECT status FROM hand_users WHERE tenant = ? AND subject = ?', [tenant, subject])
        if (row !== undefined) {
          await pool.execute(`UPDATE hand_users SET status = 'logged_out', version = ?, logged_out_at = ?, request_id = ?
            WHERE tenant = ? AND subject = ? AND status IN ('logged_in', 'logged_out')`, [randomUUID(), at, requestId, tenant, subject])
        }
        return row?.status
      }
    }
  },

  sqlite: (database) => {
    database.exec(`CREATE TABLE IF NOT EXISTS hand_users (
      tenant TEXT, subject TEXT, status TEXT NOT NULL, version TEXT NOT NULL, logged_out_at INTEGER, request_id TEXT, PRIMARY KEY (tenant, subject)) WITHOUT ROWID`)
    const read = database.prepare('SELECT status FROM hand_users WHERE tenant = ? AND subject = ?')
    const write = database.prepare(`UPDATE hand_users SET status = 'logged_out', version = ?, logged_out_at = ?, request_id = ?
      WHERE tenant = ? AND subject = ? AND status IN ('logged_in', 'logged_out')`)
    const insert = database.prepare('INSERT INTO hand_users (tenant, subject, status, version) VALUES (?, ?, \'logged_in\', ?)')
    const logOut = database.transaction((tenant, subject, at, requestId) => {
      const before = read.get(tenant, subject)?.status
      if (before !== undefined) write.run(randomUUID(), at, requestId, tenant, subject)
      return before
    })
    return {
      seed: database.transaction((tenant, subjects) => {
        for (const subject of subjects) insert.run(tenant, subject, randomUUID())
      }),
      logOut: (...query) => logOut.immediate(...query)
    }
  }
}
