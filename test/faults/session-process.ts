import { writeSync } from 'node:fs'
import { sqliteSessionStore } from '../../lib/session-stores/sqlite.ts'
import { sqliteLibraries } from '../servers/sqlite-libraries.ts'

/** A process of its own on a SQLite file. It says on its standard output, line by line, what it has done. */
const [library, path = '', role = '', argument = ''] = process.argv.slice(2)
const database = sqliteLibraries.find(({ name }) => name === library)?.openAtDefaults(path)
if (database === undefined) throw new Error(`no library ${library}`)
if (role !== 'logOutAtDefaults') database.exec('PRAGMA busy_timeout = 20000; PRAGMA synchronous = NORMAL')
const store = sqliteSessionStore(database)
const tell = (line: string) => writeSync(1, `${line}\n`)
const hour = 3_600_000

function create (id: string, subject: string) {
  const now = Date.now()
  store.create(`t0ken-5ecret-${id}`, { id, subject, createdAt: now, expiresAt: now + hour, keepUntil: now + hour })
}

/** Repeats while another process has locked the file. */
function untilUnlocked<T> (act: () => T): T {
  for (;;) {
    try {
      return act()
    } catch (error) {
      if (!String(error).includes('locked')) throw error
    }
  }
}

const roles: Record<string, () => void | Promise<void>> = {
  migrate: () => store.migrate().then(() => { tell('done') }),

  hold () {
    database.exec('BEGIN IMMEDIATE')
    tell('holding')
    setInterval(() => {}, 1000)
  },

  /** Logs out sessions of its own, one after the other. */
  logOutEach () {
    for (let index = 0; ; index++) {
      create(`session-${index}`, 'alice')
      if (store.logOut(`t0ken-5ecret-session-${index}`)?.status === 'active') tell(`session-${index}`)
    }
  },

  /** Meets another process that reads, says so, and then logs out sessions of its own one after the other. */
  logOutAtDefaults () {
    try {
      create(`${argument}-first`, argument)
      tell('wrote although another process reads')
    } catch (error) {
      tell(String(error))
    }
    for (let index = 0; index < 300; index++) {
      untilUnlocked(() => create(`${argument}-${index}`, argument))
      if (untilUnlocked(() => store.logOut(`t0ken-5ecret-${argument}-${index}`))?.status === 'active') tell(`${argument}-${index}`)
    }
    setInterval(() => {}, 1000)
  },

  /** Logs out the sessions of all, and prints those that it saw active. */
  logOutAll () {
    for (let index = 0; index < Number(argument); index++) {
      if (store.logOut(`t0ken-5ecret-shared-${index}`)?.status === 'active') tell(`shared-${index}`)
    }
  },

  /** Logs in and logs out everywhere, and prints each session that it has ended. */
  logInAndOut () {
    for (let index = 0; index < 25; index++) {
      create(`${argument}-${index}`, 'bob')
      tell(`${store.logOutSubject({ subject: 'bob', count: true })}`)
    }
  }
}

await roles[role]?.()
