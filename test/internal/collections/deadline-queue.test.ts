import t from 'tap'
import { deadlineQueue } from '../../../lib/internal/collections/deadline-queue.ts'

t.test('items come out in the order of their deadlines, and not before', t => {
  const queue = deadlineQueue<number>()
  const deadlines = Array.from({ length: 500 }, (_, index) => (index * 7919) % 263)
  for (const deadline of deadlines) queue.add(deadline, deadline)
  t.equal(queue.takeDue(-1), undefined)
  const due: Array<number | undefined> = []
  for (let now = 0; now <= 263; now++) {
    for (let item = queue.takeDue(now); item !== undefined; item = queue.takeDue(now)) {
      t.equal(item, now)
      due.push(item)
    }
  }
  t.same(due, deadlines.toSorted((a, b) => a - b))
  t.equal(queue.takeDue(Infinity), undefined)
  t.end()
})

t.test('items that are added between takings find their place', t => {
  const queue = deadlineQueue<string>()
  queue.add(5, 'five')
  queue.add(1, 'one')
  t.equal(queue.takeDue(9), 'one')
  queue.add(3, 'three')
  queue.add(7, 'seven')
  t.same([queue.takeDue(9), queue.takeDue(9), queue.takeDue(6), queue.takeDue(9), queue.takeDue(9)], ['three', 'five', undefined, 'seven', undefined])
  t.end()
})
