import { once } from 'node:events'
import { writeSync } from 'node:fs'

import { sqliteUserStatusStore } from '../../lib/user-status-stores/sqlite.ts'
import { sqliteLibraries } from '../servers/sqlite-libraries.ts'

/** A process of its own on a SQLite file. It tells on its standard output, line by line, what it is done with. */
const [library, path = '', role, busyTimeout] = process.argv.slice(2)
const database = sqliteLibraries.find(({ name }) => name === library)?.open(path)
if (database === undefined) throw new Error(`no library ${library}`)
database.exec(`PRAGMA busy_timeout = ${busyTimeout}`)
const store = sqliteUserStatusStore(database)
const alice = { tenant: 'acme', subject: 'alice' }
const tell = (line: string) => writeSync(1, `${line}\n`)

const roles: Record<string, () => void | Promise<void>> = {
  hold () {
    database.exec('BEGIN IMMEDIATE')
    tell('holding')
    setInterval(() => {}, 1000)
  },

  logOutEach () {
    for (let i = 0; ; i++) {
      store.set({ tenant: 'acme', subject: `user-${i}` }, 'logged_in')
      if (store.logOut({ tenant: 'acme', subject: `user-${i}` }, { at: 1000, requestId: 'r' })?.status === 'logged_in') tell(`user-${i}`)
    }
  },

  logOut: () => repeat(() => store.logOut(alice, { at: 1000, requestId: 'r' })?.status === 'logged_in'),

  logIn: () => repeat(() => {
    const { status, version } = store.get(alice) ?? {}
    return status === 'logged_out' && store.compareAndSet(alice, version, { status: 'logged_in', at: 1000, requestId: 'r' })
  })
}

/** Makes the table, waits for a word to begin, and prints how often it succeeded. A locked file is a failure. */
async function repeat (act: () => boolean) {
  await store.migrate()
  tell('ready')
  await once(process.stdin, 'data')
  let succeeded = 0
  const end = Date.now() + 600
  while (Date.now() < end) {
    try {
      if (act()) succeeded += 1
    } catch (error) {
      if (!String(error).includes('locked')) throw error
    }
  }
  tell(`${succeeded}`)
  process.stdin.destroy()
}

await roles[role ?? '']?.()
