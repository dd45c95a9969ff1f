/** Items in the order of their deadlines, as a binary heap: adding and taking cost the logarithm of the size. */
export interface DeadlineQueue<T> {
  add (deadline: number, item: T): void
  /** Takes the item with the earliest deadline, if that is reached. */
  takeDue (now: number): T | undefined
}

interface Entry<T> {
  readonly deadline: number
  readonly item: T
}

/** An empty queue. */
export function deadlineQueue<T> (): DeadlineQueue<T> {
  const heap: Array<Entry<T>> = []

  return {
    add (deadline, item) {
      const entry = { deadline, item }
      heap.push(entry)
      rise(heap, heap.length - 1, entry)
    },
    takeDue (now) {
      const first = heap[0]
      if (first === undefined || first.deadline > now) return undefined
      const last = heap.pop()
      if (last !== undefined && last !== first) sink(heap, last)
      return first.item
    }
  }
}

function rise<T> (heap: Array<Entry<T>>, start: number, entry: Entry<T>): void {
  let index = start
  while (index > 0) {
    const above = (index - 1) >> 1
    const parent = heap[above]
    if (parent === undefined || parent.deadline <= entry.deadline) break
    heap[index] = parent
    index = above
  }
  heap[index] = entry
}

function sink<T> (heap: Array<Entry<T>>, entry: Entry<T>): void {
  let index = 0
  while (true) {
    const below = earlier(heap, 2 * index + 1)
    const child = heap[below]
    if (child === undefined || child.deadline >= entry.deadline) break
    heap[index] = child
    index = below
  }
  heap[index] = entry
}

function earlier<T> (heap: Array<Entry<T>>, left: number): number {
  const [a, b] = [heap[left], heap[left + 1]]
  return a !== undefined && b !== undefined && b.deadline < a.deadline ? left + 1 : left
}
