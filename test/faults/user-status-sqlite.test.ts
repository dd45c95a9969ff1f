import Fastify from 'fastify'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'

import { tenantStatusLogout } from '../../lib/flows/tenant-status.ts'
import { sqliteUserStatusStore } from '../../lib/user-status-stores/sqlite.ts'
import { sqliteLibraries } from '../servers/sqlite-libraries.ts'

const alice = { tenant: 'acme', subject: 'alice' }

type Role = 'hold' | 'logOutEach' | 'logOut' | 'logIn'

function start (t: Test, library: string, path: string, role: Role, busyTimeout = 0) {
  const script = fileURLToPath(new URL('./user-status-process.ts', import.meta.url))
  const child = spawn(process.execPath, [...process.execArgv, script, library, path, role, `${busyTimeout}`], {
    stdio: ['pipe', 'pipe', 'inherit']
  })
  t.teardown(() => { child.kill('SIGKILL') })
  const told: string[] = []
  child.stdout.setEncoding('utf8').on('data', (text: string) => told.push(text))
  const ended = once(child, 'close')
  const failed = ended.then(() => { throw new Error(`the process ended: ${told.join('')}`) })
  failed.catch(() => {})
  return {
    child,
    lines: () => told.join('').split('\n').slice(0, -1),
    ended,
    async tells (count: number) {
      while (told.join('').split('\n').length <= count) await Promise.race([once(child.stdout, 'data'), failed])
    }
  }
}

async function end (child: ChildProcess, ended: Promise<unknown>) {
  child.kill('SIGKILL')
  await ended
}

for (const { name, open, skip } of sqliteLibraries) {
  t.test(name, { skip }, async t => {
    await t.test('four processes migrate a new file at once, and then lose no update', async t => {
      const path = join(t.testdir({}), 'users.db')
      const workers = [
        start(t, name, path, 'logOut', 2000), start(t, name, path, 'logOut'),
        start(t, name, path, 'logIn', 2000), start(t, name, path, 'logIn')
      ]
      await Promise.all(workers.map(({ tells }) => tells(1)))
      t.strictSame(workers.map(({ lines }) => lines()), [['ready'], ['ready'], ['ready'], ['ready']])

      const database = open(path)
      t.teardown(() => database.close())
      database.exec('PRAGMA journal_mode = WAL')
      const store = sqliteUserStatusStore(database)
      store.set(alice, 'logged_in')
      for (const { child } of workers) child.stdin.write('begin')
      await Promise.all(workers.map(({ ended }) => ended))
      const [out = 0, outToo = 0, back = 0, backToo = 0] = workers.map(({ lines }) => Number(lines()[1]))
      t.ok(out + outToo > 0, `${out + outToo} logouts saw the user logged in`)
      t.equal(1 + back + backToo - out - outToo, store.get(alice)?.status === 'logged_in' ? 1 : 0, 'each login was undone once')
    })

    await t.test('after a process is killed while it writes, every logout that it reported is kept', async t => {
      const path = join(t.testdir({}), 'users.db')
      const database = open(path)
      t.teardown(() => database.close())
      database.exec('PRAGMA journal_mode = WAL')
      const store = sqliteUserStatusStore(database)
      await store.migrate()
      const { child, lines, tells, ended } = start(t, name, path, 'logOutEach', 2000)
      await tells(50)
      await end(child, ended)
      const told = lines()
      t.ok(told.length >= 50)
      t.ok(told.every(subject => store.get({ tenant: 'acme', subject })?.status === 'logged_out'), `all ${told.length}`)
    })

    await t.test('a file locked by a frozen process: 500, and 200 when that process is gone', async t => {
      const directory = t.testdir({})
      const path = join(directory, 'users.db')
      const database = open(path)
      t.teardown(() => database.close())
      const store = sqliteUserStatusStore(database)
      await store.migrate()
      store.set(alice, 'logged_in')
      const edges: string[] = []
      const app = Fastify()
      await app.register(tenantStatusLogout, {
        users: store,
        authenticateTenant: () => 'acme',
        verifyToken: () => ({ sub: 'alice', tenant: 'acme' }),
        onLogout: ({ subject }) => { edges.push(subject) }
      })
      const logOut = () => app.inject({ url: '/auth/logout', headers: { 'x-tenant-token': 'tenant-5ecret', 'x-token': 'user-5ecret' } })

      const holder = start(t, name, path, 'hold')
      await holder.tells(1)
      holder.child.kill('SIGSTOP')
      const refused = await logOut()
      t.match({ status: refused.statusCode, body: refused.json() }, {
        status: 500, body: { error: { message: 'Something went wrong on our side.', code: 'INTERNAL_SERVER', status: 500 } }
      })
      t.equal(store.get(alice)?.status, 'logged_in')
      await end(holder.child, holder.ended)
      t.equal((await logOut()).statusCode, 200)
      t.equal((await logOut()).statusCode, 200)
      t.strictSame(edges, ['alice'])
      const files = readdirSync(directory).map(file => readFileSync(join(directory, file), 'latin1')).join()
      t.match(files, /alice/)
      t.notMatch(files, /5ecret/, 'no token is in the files')
    })
  })
}
