/** How long something that does not end counts, in milliseconds. */
const longestTurn = 1000

/**
 * Runs at most so many things at once; the others wait, in their order. What takes longer than a second no longer counts:
 * a connection that fell silent holds up nobody else.
 */
export function inTurns (most: number): <T>(run: () => Promise<T>) => Promise<T> {
  const waiting: Array<() => void> = []
  let running = 0

  const end = () => {
    const next = waiting.shift()
    if (next === undefined) running--
    else next()
  }

  return async run => {
    if (running < most) running++
    else await new Promise<void>(resolve => { waiting.push(resolve) })

    let isCounted = true
    const endTurn = () => {
      if (isCounted) end()
      isCounted = false
    }
    const timer = setTimeout(endTurn, longestTurn)
    try {
      return await run()
    } finally {
      clearTimeout(timer)
      endTurn()
    }
  }
}
