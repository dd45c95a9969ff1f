/** Items in the order of their deadlines. Adding and taking cost the logarithm of the size. */
export interface DeadlineQueue<T> {
  add (item: T): void
  /** Takes the item with the earliest deadline, if that is reached. */
  takeDue (now: number): T | undefined
}

type DeadlineOf<T> = (item: T) => number

/** An empty queue, as a binary heap of the items themselves: an item costs one element of an array. */
export function deadlineQueue<T extends object> (deadlineOf: DeadlineOf<T>): DeadlineQueue<T> {
  const heap: T[] = []

  return {
    add (item) {
      heap.push(item)
      rise(heap, item, deadlineOf)
    },
    takeDue (now) {
      const first = heap[0]
      if (first === undefined || deadlineOf(first) > now) return undefined
      const last = heap.pop()
      if (last !== undefined && last !== first) sink(heap, last, deadlineOf)
      return first
    }
  }
}

/** Moves the last item up to its place. */
function rise<T extends object> (heap: T[], item: T, deadlineOf: DeadlineOf<T>): void {
  const deadline = deadlineOf(item)
  let index = heap.length - 1
  while (index > 0) {
    const above = (index - 1) >> 1
    const parent = heap[above]
    if (parent === undefined || deadlineOf(parent) <= deadline) break
    heap[index] = parent
    index = above
  }
  heap[index] = item
}

/** Puts an item at the top and moves it down to its place. */
function sink<T extends object> (heap: T[], item: T, deadlineOf: DeadlineOf<T>): void {
  const deadline = deadlineOf(item)
  let index = 0
  while (true) {
    const below = earlier(heap, 2 * index + 1, deadlineOf)
    const child = heap[below]
    if (child === undefined || deadlineOf(child) >= deadline) break
    heap[index] = child
    index = below
  }
  heap[index] = item
}

/** The index of the earlier one of two children. */
function earlier<T extends object> (heap: T[], left: number, deadlineOf: DeadlineOf<T>): number {
  const [a, b] = [heap[left], heap[left + 1]]
  return a !== undefined && b !== undefined && deadlineOf(b) < deadlineOf(a) ? left + 1 : left
}
