import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { allWithin } from '../../../lib/internal/plugin/all-within.ts'

t.test('what is done in time is returned, and what fails in time fails', async t => {
  t.equal(await allWithin(5000, () => 'value'), 'value')
  t.equal(await allWithin(5000, async () => 'value'), 'value')
  const failure = new Error('down')
  await t.rejects(allWithin(5000, async () => { throw failure }), failure)
  await t.rejects(allWithin(5000, () => { throw failure }), failure)
  t.equal(process.getActiveResourcesInfo().filter(name => name === 'Timeout').length, 0, 'no timer is left')
})

t.test('what takes longer is an outage, and goes on', async t => {
  let done = false
  await t.rejects(allWithin(20, async () => {
    await sleep(60)
    done = true
  }), { name: 'Outage', message: 'the whole request failed', cause: { message: 'it took more than 20 ms' } })
  t.equal(done, false)
  await sleep(80)
  t.equal(done, true)
})
