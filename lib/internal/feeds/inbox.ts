/** What was sent and nobody has taken yet. */
export interface Inbox<Item> {
  put (...items: readonly Item[]): void
  /** Something was sent that is not in here. */
  lose (): void
  /** Nothing more will come. */
  end (): void
  take (): News<Item>
  /** Waits until there is something to take, for at most so many milliseconds. Rejects after the end. */
  wait (milliseconds: number): Promise<void>
}

/** Everything that was sent, unless there was too much of it. */
export interface News<Item> {
  readonly items: readonly Item[]
  readonly isWhole: boolean
}

/** An empty {@link Inbox}. While it holds so many items or more, what comes is lost. */
export function inbox<Item> (most: number): Inbox<Item> {
  let items: Item[] = []
  let isWhole = true
  let hasEnded = false
  let wake = () => {}

  const news = (milliseconds: number) => new Promise<void>(resolve => {
    const timer = setTimeout(resolve, milliseconds)
    wake = () => { clearTimeout(timer); resolve() }
  })

  const box: Inbox<Item> = {
    put (...added) {
      if (items.length >= most) return box.lose()
      items.push(...added)
      wake()
    },
    lose () {
      isWhole = false
      wake()
    },
    end () {
      hasEnded = true
      wake()
    },
    take () {
      const taken = { items, isWhole }
      items = []
      isWhole = true
      return taken
    },
    async wait (milliseconds) {
      if (items.length === 0 && isWhole && !hasEnded) await news(milliseconds)
      if (hasEnded) throw new Error('the connection on which news come was lost')
    }
  }
  return box
}
