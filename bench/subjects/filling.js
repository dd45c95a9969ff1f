// Puts many sessions into the library's own stores, without a call for each. A call finds them afterwards, or we stop.
import { openClient } from './clients.js'
import { sessionAt, tokenDigests } from './tokens.js'

const batch = 5000

/**
 * Puts so many sessions of so many subjects in. Each of them is as the library would have written it: of the first and the last
 * one that is asked.
 */
export async function fillSessions (sessions, store, { count, subjects }) {
  if (count === 0) return
  await filling[store.kind](sessions, store, { count, subjects, ...times() })
  for (const nth of [0, count - 1]) {
    const found = await sessions.find(filledToken(nth))
    const isRight = found?.status === 'active' && found.id === `filled-${nth}` && found.subject === `user-${nth % subjects}`
    if (!isRight) throw new Error(`${store.kind}: the store does not find the sessions that were put in: its layout has changed`)
  }
}

function filledToken (nth) {
  return `filled ${nth}`
}

function times () {
  const { createdAt, expiresAt, keepUntil } = sessionAt(0)
  return { createdAt, expiresAt: keepUntil, keepUntil: keepUntil + (keepUntil - expiresAt) }
}

const filling = {
  memory: async (sessions, _store, { count, subjects, ...times }) => {
    for (let nth = 0; nth < count; nth++) sessions.create(filledToken(nth), { id: `filled-${nth}`, subject: `user-${nth % subjects}`, ...times })
  },

  sqlite: async (_sessions, store, { count, subjects, createdAt, expiresAt, keepUntil }) => {
    const database = await openClient(store)
    const addSubject = database.prepare('INSERT OR IGNORE INTO logout_session_subject (subject, epoch, keep_until) VALUES (?, 1, ?)')
    const add = database.prepare(`INSERT INTO logout_session (digest, id, subject, epoch, logged_out, created_at, expires_at, keep_until, details)
      VALUES (?, ?, ?, 1, 0, ?, ?, ?, '{}')`)
    database.transaction(() => {
      for (let nth = 0; nth < Math.min(subjects, count); nth++) addSubject.run(`user-${nth}`, keepUntil)
      for (let from = 0; from < count; from += batch) {
        for (const [place, digest] of tokenDigests(filledToken, from, Math.min(batch, count - from)).entries()) {
          add.run(digest, `filled-${from + place}`, `user-${(from + place) % subjects}`, createdAt, expiresAt, keepUntil)
        }
      }
    })()
    database.close()
  },

  redis: async (sessions, store, { count, subjects, createdAt, expiresAt, keepUntil }) => {
    const redis = await openClient(store)
    const { prefix, texts } = await templateOf(redis, sessions, { createdAt, expiresAt, keepUntil })
    const sortable = [createdAt, expiresAt, keepUntil].map(time => time.toString(36).padStart(11, '0'))
    for (let from = 0; from < count; from += batch) {
      const digests = tokenDigests(filledToken, from, Math.min(batch, count - from))
      await redis.eval(fillLua, 0, prefix, digests.join(''), `${from}`, `${subjects}`, ...sortable, `${keepUntil}`, ...texts)
    }
    for (let nth = 0; nth < Math.min(subjects, count); nth++) redis.pexpireat(`${prefix}u:user-${nth}`, keepUntil)
    await redis.quit()
  },

  postgres: async (_sessions, store, { count, subjects, createdAt, expiresAt, keepUntil }) => {
    const pool = await openClient(store)
    await pool.query(`INSERT INTO logout_session_subject (subject, epoch, keep_until)
      SELECT 'user-' || nth, 1, ${keepUntil} FROM generate_series(0, ${Math.min(subjects, count) - 1}) AS nth`)
    await withoutIndexes(pool, 'logout_session', connection => connection.query(`
      INSERT INTO logout_session (digest, id, subject, epoch, logged_out, created_at, expires_at, keep_until, details)
      SELECT translate(encode(sha256(convert_to('${filledToken('')}' || nth, 'UTF8')), 'base64'), '+/=', '-_'), 'filled-' || nth,
        'user-' || (nth % ${subjects}), 1, false, ${createdAt}, ${expiresAt}, ${keepUntil}, '{}'
      FROM generate_series(0, ${count - 1}) AS nth`))
    await pool.query('VACUUM (ANALYZE) logout_session')
    await pool.query('VACUUM (ANALYZE) logout_session_subject')
    await pool.query('CHECKPOINT')
    await pool.end()
  }
}

/** What the library writes for one session, around the id and the subject. */
async function templateOf (redis, sessions, times) {
  await redis.flushdb()
  await sessions.create('template', { id: 'template-id', subject: 'template-subject', ...times })
  const key = (await redis.keys('*')).find(name => /s:[\w-]{43}$/.test(name))
  const { session, by } = await redis.hgetall(key)
  await redis.flushdb()
  return { prefix: key.slice(0, -45), texts: [...session.split(/template-id|template-subject/), by] }
}

/** The keys of a session, of its id and of its subject, see lib/internal/redis-sessions. */
const fillLua = `
local prefix, digests, from, subjects, created, expires, keep, instant, head, middle, tail, by = unpack(ARGV)
for place = 0, #digests / 43 - 1 do
  local nth = from + place
  local id, subject = string.format('filled-%d', nth), string.format('user-%d', nth % subjects)
  local digest = digests:sub(place * 43 + 1, place * 43 + 43)
  local start = created .. id
  local entry = start .. '\\0' .. expires .. keep
  redis.call('HSET', prefix .. 's:' .. digest, 'session', head .. id .. middle .. subject .. tail, 'subject', subject, 'entry', entry, 'by', by)
  redis.call('PEXPIREAT', prefix .. 's:' .. digest, instant)
  redis.call('HSET', prefix .. 'i:' .. id, 'digest', digest, 'subject', subject, 'entry', entry, 'by', by)
  redis.call('PEXPIREAT', prefix .. 'i:' .. id, instant)
  redis.call('ZADD', prefix .. 'u:' .. subject, 0, '10c' .. start .. '\\0' .. keep, 0, '10x' .. expires .. start)
end`

/** Puts rows into a table of Postgres whose indexes are made afterwards, which takes a fraction of the time. */
export async function withoutIndexes (pool, table, fill) {
  const connection = await pool.connect()
  try {
    await connection.query("SET maintenance_work_mem = '512MB'")
    const { rows: constraints } = await connection.query(`SELECT conname AS name, pg_get_constraintdef(oid) AS definition
      FROM pg_constraint WHERE conrelid = '${table}'::regclass AND contype IN ('p', 'u')`)
    const { rows: indexes } = await connection.query(`SELECT indexrelid::regclass AS name, pg_get_indexdef(indexrelid) AS definition
      FROM pg_index WHERE indrelid = '${table}'::regclass AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)`)
    for (const { name } of constraints) await connection.query(`ALTER TABLE ${table} DROP CONSTRAINT ${name}`)
    for (const { name } of indexes) await connection.query(`DROP INDEX ${name}`)
    await fill(connection)
    for (const { name, definition } of constraints) await connection.query(`ALTER TABLE ${table} ADD CONSTRAINT ${name} ${definition}`)
    for (const { definition } of indexes) await connection.query(definition)
  } finally {
    connection.release(true)
  }
}
