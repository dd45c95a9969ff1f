import t from 'tap'
import { asNew, deliveryRecord, outcomeOf } from '../../../lib/internal/records/delivery.ts'
import type { AttemptDelivery, Delivery } from '../../../lib/delivery-queue.ts'

const delivery: Delivery = { id: '1', clientId: 'shop', subject: 'alice', sid: undefined, at: 1, since: 2, attempt: 3, refusals: 4 }

t.test('a record has the members of a delivery and no others', async t => {
  t.strictSame(deliveryRecord({ ...delivery, secret: 'hunter2' } as Delivery), {
    id: '1', clientId: 'shop', subject: 'alice', at: 1, since: 2, attempt: 3, refusals: 4
  })
  t.strictSame(deliveryRecord({ ...delivery, tenant: 'acme', sid: 'phone' }), { ...delivery, tenant: 'acme', sid: 'phone' })
})

t.test('what is wrong is a TypeError that names the member', async t => {
  const wrong: ReadonlyArray<readonly [member: string, values: readonly unknown[]]> = [
    ['the id', ['', 7, undefined, 'a'.repeat(256)]], ['the clientId', ['', null]], ['the subject', ['', null, 7]], ['the tenant', ['', 7]],
    ['the sid', ['', {}]], ['at', [-1, 0.5, '1']], ['since', [-1, NaN]], ['attempt', [0, 1.5]], ['refusals', [-1, '0']]
  ]
  for (const [member, values] of wrong) {
    for (const value of values) {
      const message = new RegExp(`^${member} of a delivery must `)
      t.throws(() => deliveryRecord({ ...delivery, [member.replace('the ', '')]: value }), { name: 'TypeError', message })
    }
  }
  t.equal(deliveryRecord({ ...delivery, id: 'a'.repeat(255) }).id.length, 255)
})

t.test('a dead delivery begins anew now', async t => {
  const before = Date.now()
  const again = asNew(delivery)
  t.strictSame(again, { ...delivery, since: again.since, attempt: 1, refusals: 0 })
  t.ok(again.since >= before && again.since <= Date.now())
})

t.test('an attempt that fails is made again a second later, with the delivery as it was', async t => {
  const failing: readonly AttemptDelivery[] = [
    () => { throw new Error('secret') },
    async given => {
      Object.assign(given, { clientId: 'another' })
      throw new Error('secret')
    }
  ]
  for (const attempt of failing) {
    const before = Date.now()
    const outcome = await outcomeOf(attempt, { ...delivery })
    const retryAt = typeof outcome === 'object' && 'retryAt' in outcome ? outcome.retryAt : NaN
    t.strictSame(outcome, { retryAt, delivery })
    t.ok(retryAt >= before + 1000 && retryAt <= Date.now() + 1000)
  }
  t.equal(await outcomeOf(async () => 'done', delivery), 'done')
  t.strictSame(await outcomeOf(async () => ({ dead: 'gone' }), delivery), { dead: 'gone' })
})

t.test('an attempt begins after the call', async t => {
  const attempted: Delivery[] = []
  const outcome = outcomeOf(async given => {
    attempted.push(given)
    return 'done'
  }, delivery)
  t.strictSame(attempted, [])
  await outcome
  t.strictSame(attempted, [delivery])
})
