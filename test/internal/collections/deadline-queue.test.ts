import t from 'tap'
import { deadlineQueue } from '../../../lib/internal/collections/deadline-queue.ts'

interface Due {
  readonly at: number
}

const emptyQueue = () => deadlineQueue<Due>(({ at }) => at)

t.test('items come out in the order of their deadlines, and not before', t => {
  const queue = emptyQueue()
  const deadlines = Array.from({ length: 500 }, (_, index) => (index * 7919) % 263)
  for (const at of deadlines) queue.add({ at })
  t.equal(queue.takeDue(-1), undefined)
  const due: number[] = []
  for (let now = 0; now <= 263; now++) {
    for (let item = queue.takeDue(now); item !== undefined; item = queue.takeDue(now)) {
      t.equal(item.at, now)
      due.push(item.at)
    }
  }
  t.same(due, deadlines.toSorted((a, b) => a - b))
  t.equal(queue.takeDue(Infinity), undefined)
  t.end()
})

t.test('items that are added between takings find their place', t => {
  const queue = emptyQueue()
  queue.add({ at: 5 })
  queue.add({ at: 1 })
  t.strictSame(queue.takeDue(9), { at: 1 })
  queue.add({ at: 3 })
  queue.add({ at: 7 })
  t.same([9, 9, 6, 9, 9].map(now => queue.takeDue(now)?.at), [3, 5, undefined, 7, undefined])
  t.end()
})
