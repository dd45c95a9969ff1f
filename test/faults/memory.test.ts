import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t, { type Test } from 'tap'

const program = `
  import { memorySessionStore } from '${new URL('../../lib/session-stores/memory.ts', import.meta.url).href}'
  import { create, tokenOf } from '${new URL('./session-survival.ts', import.meta.url).href}'
  const sessions = memorySessionStore()
  console.log('before: ' + sessions.find(tokenOf('phone'))?.status)
  await create(sessions, 'phone')
  sessions.logOut(tokenOf('phone'))
  console.log('after: ' + sessions.find(tokenOf('phone'))?.status)
  setInterval(() => {}, 1000)
`

/** Runs the program until it has logged out, kills it, and resolves to what it printed. */
async function runAndKill (t: Test): Promise<string> {
  const args = [...process.execArgv, '--input-type=module', '-e', program]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => { child.kill('SIGKILL') })
  let printed = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => { printed += text })
  const ended = once(child, 'close')
  const failed = ended.then(() => { throw new Error(printed) })
  failed.catch(() => {})
  while (!printed.includes('after')) await Promise.race([once(child.stdout, 'data'), failed])
  child.kill('SIGKILL')
  await ended
  return printed
}

t.test('in memory, a process that is killed has forgotten every session and every logout', async t => {
  for (let start = 0; start < 2; start++) t.equal(await runAndKill(t), 'before: undefined\nafter: logged_out\n')
})
