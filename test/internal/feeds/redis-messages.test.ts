import t, { type Test } from 'tap'
import { isChain, isLater, messageBox } from '../../../lib/internal/feeds/redis-messages.ts'

/** Lets a test say how late it is. */
function clock (t: Test) {
  const { now } = performance
  t.teardown(() => Object.assign(performance, { now }))
  let late = 0
  Object.assign(performance, { now: () => now.call(performance) + late })
  return (milliseconds: number) => { late += milliseconds }
}

t.test('messages are read as entries of the stream', async t => {
  const box = messageBox()
  box.put('12-3 before name [["tt","","","","1","2"]]')
  box.put('12-4  first []')
  t.same(box.take(), {
    isWhole: true,
    items: [
      { id: '12-3', fields: { behind: 'before', name: 'name', marks: '[["tt","","","","1","2"]]' } },
      { id: '12-4', fields: { behind: '', name: 'first', marks: '[]' } }
    ]
  })
})

t.test('a message that cannot be read means that something is missing', async t => {
  const box = messageBox()
  for (const message of ['', 'rubbish', '12 a b []', '12-3 a b', '12-3 a b {}', 'x12-3 a b []']) {
    box.put(message)
    t.same(box.take(), { items: [], isWhole: false }, message)
  }
})

t.test('a thousand messages wait at most', async t => {
  const box = messageBox()
  for (let index = 0; index < 1001; index++) box.put(`1-${index} a b []`)
  const { items, isWhole } = box.take()
  t.same([items.length, isWhole], [1000, false])
})

t.test('an entry whose message has not come for a second is an error, until it or a later one comes', async t => {
  const wait = clock(t)
  const box = messageBox()
  box.assertDelivery()
  box.expect('5-1')
  wait(900)
  box.expect('6-1')
  box.assertDelivery()
  wait(200)
  t.throws(() => box.assertDelivery(), { message: 'what is published does not arrive' })
  box.put('5-0 a b []')
  t.throws(() => box.assertDelivery())
  box.put('5-1 a b []')
  box.assertDelivery()
  box.expect('7-1')
  box.put('8-0 a b []')
  wait(2000)
  box.assertDelivery()
})

t.test('entries are a chain if each names the one before it', async t => {
  const entry = (behind: string, name: string) => ({ id: '1-1', fields: { behind, name } })
  t.equal(isChain('a', []), true)
  t.equal(isChain('a', [entry('a', 'b'), entry('b', 'c'), entry('c', 'd')]), true)
  t.equal(isChain('a', [entry('x', 'b')]), false)
  t.equal(isChain('a', [entry('a', 'b'), entry('x', 'c')]), false)
  t.equal(isChain('a', [entry('a', 'b'), entry('a', 'c')]), false)
})

t.test('entries are ordered by their time and their count', async t => {
  for (const [id, than] of [['2-0', '1-9'], ['1-2', '1-1'], ['10-0', '9-0'], ['1-10', '1-9']] as const) {
    t.same([isLater(id, than), isLater(than, id), isLater(id, id)], [true, false, false], id)
  }
})
