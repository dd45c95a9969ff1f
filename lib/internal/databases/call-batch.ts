/**
 * Runs calls that wait in the same turn of the event loop as one: under load a backend is asked once for many. Nobody
 * waits for company: a lone call goes out at the end of its turn. At most `most` calls make one, in their order.
 *
 * `run` answers in the order of the calls, with an `Error` for each that failed by itself: only that call rejects. What
 * `run` rejects with, all of its calls reject with.
 */
export function waitingCalls<Call, Answer> (run: (calls: readonly Call[]) => Promise<ReadonlyArray<Answer | Error>>, most = 100): (call: Call) => Promise<Answer> {
  let waiting: Array<Waiting<Call, Answer>> = []

  function flush () {
    const due = waiting
    waiting = []
    for (let from = 0; from < due.length; from += most) settle(run, due.slice(from, from + most))
  }

  return call => new Promise((resolve, reject) => {
    if (waiting.length === 0) setImmediate(flush)
    waiting.push({ call, resolve, reject })
  })
}

interface Waiting<Call, Answer> {
  readonly call: Call
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: unknown) => void
}

async function settle<Call, Answer> (run: (calls: readonly Call[]) => Promise<ReadonlyArray<Answer | Error>>, due: ReadonlyArray<Waiting<Call, Answer>>): Promise<void> {
  try {
    const answers = await run(due.map(({ call }) => call))
    if (answers.length !== due.length) throw new Error(`${due.length} calls got ${answers.length} answers`)
    for (const [index, answer] of answers.entries()) {
      if (answer instanceof Error) due[index]?.reject(answer)
      else due[index]?.resolve(answer)
    }
  } catch (error) {
    for (const { reject } of due) reject(error)
  }
}
