/** A test by its file and its title, or by the title that it has and those of the tests around it. */
export type NamedTest = readonly [file: string, ...titles: string[]]

/** A row of the table in docs/faults.md: the tests of each cell that promises something, by the name of its column. */
export type FaultTests = Readonly<Record<string, Readonly<Record<string, readonly NamedTest[]>>>>

const [sqlite, redis, postgres, mysql] = ['session-sqlite', 'session-redis', 'session-postgres', 'session-mysql'].map(name => (
  `test/faults/${name}.test.ts`
)) as [string, string, string, string]
const file = 'test/faults/session-sqlite-file.test.ts'
const users = 'test/faults/user-status-stores.test.ts'
const sqliteUsers = 'test/faults/user-status-sqlite.test.ts'
const ownSessions = 'test/faults/session-logout.test.ts'
const openid = 'test/faults/openid-back-channel.test.ts'
const failover = 'test/faults/sql-failover.test.ts'
const sqlMarks = 'test/faults/revocation-sql-servers.test.ts'
const redisMarks = 'test/faults/revocation-redis-servers.test.ts'
const sessionCluster = 'test/faults/session-redis-cluster.test.ts'
const wrongClock = 'test/faults/wrong-clock.test.ts'

const columns = { redis: 'Redis, Valkey', postgres: 'PostgreSQL', mysql: 'MySQL, MariaDB' }
const mysqlName = 'MariaDB or MySQL'

/** The same title in the tests of each server, for its sessions and for the users of tenants. */
function onServers (sessions: string, ofUsers?: string) {
  const both = (own: string, title: string, of: string): NamedTest[] => [
    [own, title, sessions], ...ofUsers === undefined ? [] : [[users, of, ofUsers] as const]
  ]
  return {
    [columns.redis]: both(redis, 'Redis', 'Redis that writes every change to its log'),
    [columns.postgres]: both(postgres, 'Postgres', 'Postgres'),
    [columns.mysql]: both(mysql, 'MySQL', 'MySQL')
  }
}

/** A title that begins with the name of each server. */
function named (path: string, title: (name: string) => string) {
  return {
    [columns.redis]: [[path, title('Redis')] as const],
    [columns.postgres]: [[path, title('Postgres')] as const],
    [columns.mysql]: [[path, title(mysqlName)] as const]
  }
}

const anySqlite = 'node:sqlite'
const frozen = 'frozen: 500 at the timeout, and a retry after the thaw succeeds'
const swallowed = 'a network that swallows every packet'

/** Which tests show what docs/faults.md promises. */
export const faultTests: FaultTests = {
  'a process of the host is killed': {
    memory: [['test/faults/memory.test.ts', 'in memory, a process that is killed has forgotten every session and every logout']],
    SQLite: [
      [sqlite, anySqlite, 'after a process is killed while it writes, every logout that it reported is kept'],
      [sqliteUsers, anySqlite, 'after a process is killed while it writes, every logout that it reported is kept']
    ],
    ...named(openid, name => `${name}: a receiver that is killed at any step: the repeat at another node ends the rest`)
  },
  'the database is killed, and starts again': onServers(
    'killed in the middle of a load, and started again: every 204 is still logged out',
    'killed in the middle of a load, and started again: every 200 is still logged out'
  ),
  'the database is frozen': {
    SQLite: [
      [sqlite, anySqlite, 'a file locked by a frozen process: 500, and 204 when that process is gone'],
      [sqliteUsers, anySqlite, 'a file locked by a frozen process: 500, and 200 when that process is gone']
    ],
    ...joined(
      onServers(frozen, frozen),
      named(ownSessions, name => `${name}: frozen and killed`),
      named(openid, name => `${name}: a frozen store is 503 at the timeout of two seconds, and the repeat succeeds`)
    )
  },
  'connections are cut': onServers(
    'connections cut: every logout that was answered 204 is stored, and reported once',
    'connections cut: every logout that was answered 200 is stored, and reported once'
  ),
  'packets are swallowed': {
    [columns.redis]: [
      [redis, swallowed, 'a client of node-redis with socketTimeout heals by itself, and no answered logout is lost'],
      [redis, swallowed, 'a client of node-redis with socketTimeout alone never connects again, which is why a warning asks for more']
    ],
    [columns.postgres]: [
      [postgres, swallowed, 'a Pool with query_timeout and connectionTimeoutMillis heals by itself, and no answered logout is lost']
    ],
    [columns.mysql]: [
      [mysql, swallowed, 'the pool heals by itself, and no answered logout is lost'],
      [sqlMarks, 'packets are swallowed: a feed of MySQL asks again when it has healed']
    ]
  },
  'no room is left': {
    memory: [
      ['test/session-stores/memory.test.ts', 'a full store refuses, and ends nobody\'s session to make room, logged out or not'],
      ['test/provider-session-indexes/memory.test.ts', 'a full index refuses logins, forgets nobody, and still logs out']
    ],
    SQLite: [[file, anySqlite, 'a full disk: what was answered is the truth, reading goes on, and it heals']],
    [columns.redis]: [
      [redis, 'a full Redis still logs out'],
      ['test/user-status-stores/redis.test.ts', 'a full Redis refuses logins and still logs out']
    ],
    [columns.postgres]: [[postgres, 'a Postgres without room: what was answered is the truth, reading goes on, and it heals']],
    [columns.mysql]: [[mysql, 'a server without room: what was answered is the truth, reading goes on, and it heals']]
  },
  'the database only reads, or was demoted': {
    SQLite: [[file, anySqlite, 'a database that only reads: 500, and nothing changes; a session can still be found']],
    [columns.redis]: [
      [redis, 'a read-only replica of Redis: 500, and nothing changes; it answers whose session it is'],
      [redisMarks, 'a primary that was demoted, with its link down, is not taken for up to date']
    ],
    [columns.postgres]: [
      [postgres, 'Postgres', 'a server that only reads: 500, and nothing changes'],
      [ownSessions, 'a Postgres that has become read-only']
    ],
    [columns.mysql]: [
      [mysql, 'MySQL', 'a server that only reads: 500, and nothing changes; on the next one that writes, it succeeds'],
      [ownSessions, 'a MariaDB or MySQL that has become read-only']
    ]
  },
  'failover to a replica that was behind': {
    [columns.redis]: [
      ['test/faults/redis-behind.test.ts', 'after a replica of Redis that was behind is promoted, the stores are as they were earlier'],
      [redis, 'a primary stopped by min-replicas-to-write: 500, then 204 when its replica is back']
    ],
    ...Object.fromEntries([[columns.postgres, 'Postgres'], [columns.mysql, mysqlName]].map(([column, name]) => [column, [
      [failover, `${name}: after a standby that was behind is promoted, the stores are as they were earlier`],
      [failover, `${name}: with a standby that acknowledges, no failover undoes an answered logout`]
    ] as const]))
  },
  'a crash that loses the last commits': {
    SQLite: [[file, anySqlite, 'a power cut that loses the end of the log: the store is as it was earlier, and logging out again holds']],
    [columns.redis]: [[redisMarks, 'a server that lost its last marks when it was killed: everything that it has is known']],
    [columns.postgres]: [[sqlMarks, 'Postgres: a server that lost commits in a crash: what gets their numbers later is known']],
    [columns.mysql]: [[sqlMarks, `${mysqlName}: a server that lost commits in a crash: what gets their numbers later is known`]]
  },
  'a deadlock, or a lock that is held': {
    SQLite: [
      [sqlite, anySqlite, 'two processes without WAL, at the library\'s defaults: every reported logout is kept after SIGKILL'],
      [sqlite, anySqlite, 'a file locked by a frozen process: 500, and 204 when that process is gone']
    ],
    [columns.postgres]: locks(postgres, 'Postgres', 'test/session-stores/postgres.test.ts'),
    [columns.mysql]: [
      ...locks(mysql, 'MySQL', 'test/session-stores/mysql.test.ts'),
      ['test/revocation-stores/mysql.test.ts', 'calls of the same turn as one whose row is locked wait for it for a second, and no longer']
    ]
  },
  'every connection of the pool is taken': {
    [columns.postgres]: [[postgres, 'Postgres', 'a pool that is exhausted: 500 at its timeout, and it heals when a connection is free']],
    [columns.mysql]: [[mysql, 'MySQL', 'a pool that is exhausted: 500 at the timeout, and it heals when a connection is free']]
  },
  'a table is missing': {
    SQLite: [['test/session-stores/sqlite.test.ts', anySqlite, 'a missing table says what to do']],
    [columns.postgres]: [[postgres, 'Postgres', 'a missing table: 500, and what to do stands in the log only']],
    [columns.mysql]: [[mysql, 'MySQL', 'a missing table: 500, and what to do stands in the log only']]
  },
  'the clock of a node is ten minutes ahead': {
    memory: [['test/revocation-stores/memory.test.ts', 'a clock that is ten minutes ahead for a while makes no mark be forgotten']],
    SQLite: [
      ['test/revocation-stores/sqlite.test.ts', anySqlite,
        'a process whose clock is ten minutes ahead makes nobody else\'s marks be forgotten']
    ],
    ...joined(
      named(wrongClock, name => `${name}: a node whose clock is ten minutes ahead takes no session and no login from the others`),
      {
        [columns.redis]: clocks('redis'), [columns.postgres]: clocks('postgres'), [columns.mysql]: clocks('mysql')
      }
    )
  },
  'slots move to another server': {
    [columns.redis]: [
      [sessionCluster, 'slots that move under load lose no logout, and refuse no live session, through ioredis'],
      ['test/faults/user-status-redis-cluster.test.ts', 'slots that move under load lose no logout and no count, through ioredis'],
      [redisMarks, 'a slot moves to another server while a replica loads and follows']
    ]
  }
}

function locks (own: string, name: string, stores: string): NamedTest[] {
  return [
    [own, name, 'a deadlock with transactions of the host ends in a logout'],
    [own, name, 'a login that waits for a lock until the server gives up is an error, and the next one succeeds'],
    [stores, 'a session that another transaction has locked delays only its own logout, on a single connection too']
  ]
}

function clocks (store: string): NamedTest[] {
  return [[
    `test/revocation-stores/${store}.test.ts`,
    'a node whose clock is ten minutes ahead or behind ends no mark early and keeps none from working'
  ]]
}

function joined (...rows: ReadonlyArray<Readonly<Record<string, readonly NamedTest[]>>>): Record<string, NamedTest[]> {
  const all: Record<string, NamedTest[]> = {}
  for (const row of rows) for (const [column, tests] of Object.entries(row)) all[column] = [...all[column] ?? [], ...tests]
  return all
}
