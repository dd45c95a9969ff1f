import Fastify from 'fastify'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { kratosLogout } from '../../lib/flows/kratos-native.ts'
import { sqliteSessionStore } from '../../lib/session-stores/sqlite.ts'
import { sqliteLibraries } from '../servers/sqlite-libraries.ts'

type Role = 'migrate' | 'hold' | 'logOutEach' | 'logOutAtDefaults' | 'logOutAll' | 'logInAndOut'

const hour = 3_600_000

function session (id: string) {
  const now = Date.now()
  return { id, subject: 'alice', createdAt: now, expiresAt: now + hour, keepUntil: now + hour }
}

function start (t: Test, library: string, path: string, role: Role, argument = '') {
  const script = fileURLToPath(new URL('./session-process.ts', import.meta.url))
  const child = spawn(process.execPath, [...process.execArgv, script, library, path, role, argument], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(() => { child.kill('SIGKILL') })
  const told: string[] = []
  child.stdout.setEncoding('utf8').on('data', (text: string) => told.push(text))
  return {
    child,
    lines: () => told.join('').split('\n').slice(0, -1),
    ended: once(child, 'close'),
    async tells (count: number) {
      while (told.join('').split('\n').length <= count) await once(child.stdout, 'data')
    }
  }
}

async function end (child: ChildProcess, ended: Promise<unknown>) {
  child.kill('SIGKILL')
  await ended
}

for (const { name, open, openAtDefaults, skip } of sqliteLibraries) {
  t.test(name, { skip }, async t => {
    await t.test('processes migrate a new file at once, and no session is ended twice', async t => {
      const path = join(t.testdir({}), 'sessions.db')
      const migrations = [start(t, name, path, 'migrate'), start(t, name, path, 'migrate')]
      await Promise.all(migrations.map(({ ended }) => ended))
      t.strictSame(migrations.map(({ lines }) => lines()), [['done'], ['done']])

      const database = open(path)
      t.teardown(() => database.close())
      database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL')
      const store = sqliteSessionStore(database)
      const shared = Array.from({ length: 100 }, (_, index) => `shared-${index}`)
      database.exec('BEGIN')
      for (const id of shared) store.create(`t0ken-5ecret-${id}`, session(id))
      database.exec('COMMIT')
      const [one, other] = [start(t, name, path, 'logOutAll', '100'), start(t, name, path, 'logOutAll', '100')]
      const [first, second] = [start(t, name, path, 'logInAndOut', 'first'), start(t, name, path, 'logInAndOut', 'second')]
      await Promise.all([one, other, first, second].map(({ ended }) => ended))
      t.strictSame([...one.lines(), ...other.lines()].sort(), shared.toSorted(), 'each was seen active once')
      t.equal([...first.lines(), ...second.lines()].reduce((sum, line) => sum + Number(line), 0), 50, 'each login was ended once')
    })

    await t.test('after a process is killed while it writes, every logout that it reported is kept', async t => {
      const path = join(t.testdir({}), 'sessions.db')
      const database = open(path)
      t.teardown(() => database.close())
      database.exec('PRAGMA journal_mode = WAL')
      const store = sqliteSessionStore(database)
      await store.migrate()
      const { child, lines, tells, ended } = start(t, name, path, 'logOutEach')
      await tells(50)
      await end(child, ended)
      const told = lines()
      t.ok(told.length >= 50)
      t.ok(told.every(id => store.find(`t0ken-5ecret-${id}`)?.status === 'logged_out'), `all ${told.length}`)
    })

    await t.test('two processes without WAL, at the library\'s defaults: every reported logout is kept after SIGKILL', async t => {
      const path = join(t.testdir({}), 'sessions.db')
      const reader = openAtDefaults(path)
      await sqliteSessionStore(reader).migrate()
      t.same(reader.prepare('PRAGMA journal_mode').all(), [{ journal_mode: 'delete' }])
      reader.exec('BEGIN')
      reader.prepare('SELECT * FROM logout_session').all()
      const processes = ['one', 'other'].map(argument => start(t, name, path, 'logOutAtDefaults', argument))
      await Promise.all(processes.map(({ tells }) => tells(1)))
      reader.exec('COMMIT')
      reader.close()
      await Promise.all(processes.map(({ tells }) => tells(301)))
      await Promise.all(processes.map(({ child, ended }) => end(child, ended)))

      const after = openAtDefaults(path)
      t.teardown(() => after.close())
      const store = sqliteSessionStore(after)
      for (const { lines } of processes) {
        const [collision, ...told] = lines()
        t.match(collision, /database is locked/)
        t.equal(told.length, 300)
        t.strictSame(told.filter(id => store.find(`t0ken-5ecret-${id}`)?.status !== 'logged_out'), [])
      }
    })

    await t.test('a file locked by a frozen process: 500, and 204 when that process is gone', async t => {
      const directory = t.testdir({})
      const database = open(join(directory, 'sessions.db'))
      t.teardown(() => database.close())
      const store = sqliteSessionStore(database)
      await store.migrate()
      store.create('t0ken-5ecret', session('alice-s'))
      store.create('gone', session('gone'))
      store.logOut('gone')
      const ended: string[] = []
      const app = Fastify()
      await app.register(kratosLogout, {
        sessions: store, onLogout: event => { if ('session' in event && event.session) ended.push(event.session.id) }
      })
      const logOut = async (token = 't0ken-5ecret') => {
        const answer = await app.inject({ method: 'DELETE', url: '/self-service/logout/api', payload: { session_token: token } })
        return { status: answer.statusCode, body: answer.body && answer.json() }
      }

      const holder = start(t, name, join(directory, 'sessions.db'), 'hold')
      await holder.tells(1)
      holder.child.kill('SIGSTOP')
      t.match(await logOut(), { status: 500, body: { error: { code: 500 } } })
      t.equal((await logOut('unknown')).status, 403, 'an unknown token needs no lock')
      t.equal((await logOut('gone')).status, 204, 'nor does a session that is logged out already')
      t.equal(store.find('t0ken-5ecret')?.status, 'active')
      t.throws(() => store.create('other', session('other')), /locked/)
      t.throws(() => store.logOutSubject({ subject: 'alice' }), /locked/)
      await end(holder.child, holder.ended)
      t.equal((await logOut()).status, 204)
      t.equal((await logOut()).status, 204)
      t.strictSame(ended, ['alice-s'])
      store.create('other', session('other'))
      const files = readdirSync(directory).map(file => readFileSync(join(directory, file), 'latin1')).join()
      t.match(files, /alice-s/)
      t.notMatch(files, /5ecret/, 'no token is in the files')
    })
  })
}
