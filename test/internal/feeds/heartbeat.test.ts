import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { heartbeat } from '../../../lib/internal/feeds/heartbeat.ts'

t.test('each heartbeat has a new value, which is resolved once it is written', async t => {
  const written: string[] = []
  const beat = heartbeat(async value => written.push(value))
  const values = [await beat(), await beat()]
  t.same(values, written)
  t.not(values[0], values[1])
  t.match(values[0], /^\d+$/)
})

t.test('while one is unanswered no other is written, and of those that wait the latest is', async t => {
  const answers: Array<() => void> = []
  const beat = heartbeat(() => new Promise<void>(resolve => { answers.push(resolve) }))
  const first = beat()
  await nextTurn()
  const [second, third] = [beat(), beat()]
  const refused = t.rejects(second, { message: 'the last heartbeat was not answered in time' })
  await nextTurn()
  t.equal(answers.length, 1)
  answers[0]?.()
  await first
  await refused
  await nextTurn()
  t.equal(answers.length, 2)
  answers[1]?.()
  t.match(await third, /^\d+$/)
})

t.test('a heartbeat that fails rejects, and keeps nothing from the next one', async t => {
  let failures = 1
  const beat = heartbeat(async () => { if (failures-- > 0) throw new Error('cut') })
  await t.rejects(beat(), { message: 'cut' })
  t.match(await beat(), /^\d+$/)
})
