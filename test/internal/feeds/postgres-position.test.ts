import t from 'tap'
import { placeOf, transactionsOf } from '../../../lib/internal/feeds/postgres-position.ts'

const proof = { id: 'h1', value: '7', seen: '10:12:' }

t.test('a position is read back as the place that it was made of', async t => {
  const place = { server: '1/00000001/2', session: 'a', seen: '10:12:', loaded: ['s', '', '', ''] as const, proof }
  t.same(placeOf(JSON.stringify(place)), place)
})

t.test('a position of another kind of feed is read as undefined', async t => {
  const place = { server: 'x', session: 'a', seen: '10:12:', proof }
  const incomplete = [
    ...['server', 'session', 'seen', 'proof'].map(name => JSON.stringify({ ...place, [name]: 1 })),
    ...['id', 'value', 'seen'].map(name => JSON.stringify({ ...place, proof: { ...proof, [name]: 1 } }))
  ]
  for (const wrong of [undefined, '', 'rubbish', 'null', '1', '{}', '[]', ...incomplete]) {
    t.equal(placeOf(wrong), undefined, `${wrong}`)
  }
})

t.test('a snapshot names the end of what it shows, and what was running', async t => {
  t.same(transactionsOf('10:12:'), { end: '12', running: [] })
  t.same(transactionsOf('10:14:10,12'), { end: '14', running: ['10', '12'] })
})
