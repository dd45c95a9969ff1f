/** Runs several calls as one. `run` resolves to the answers in the order of the calls, or rejects for all of them. */
export type RunTogether<Call, Answer> = (calls: readonly Call[]) => Promise<ReadonlyArray<Answer | PromiseLike<Answer> | Error>>

/**
 * Runs the calls of one turn of the event loop as one: under load a backend is asked once for many. No call waits for
 * others to come: a single call is run at the end of its turn. At most `most` calls are run as one, in their order.
 *
 * An `Error` among the answers rejects only its own call. A promise among them is awaited by its own call only.
 */
export function waitingCalls<Call, Answer> (run: RunTogether<Call, Answer>, most = 100): (call: Call) => Promise<Answer> {
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
  readonly resolve: (answer: Answer | PromiseLike<Answer>) => void
  readonly reject: (error: unknown) => void
}

function settleOne<Call, Answer> (waiting: Waiting<Call, Answer> | undefined, answer: Answer | PromiseLike<Answer> | Error): void {
  if (answer instanceof Error) waiting?.reject(answer)
  else waiting?.resolve(answer)
}

async function settle<Call, Answer> (run: RunTogether<Call, Answer>, due: ReadonlyArray<Waiting<Call, Answer>>): Promise<void> {
  try {
    const answers = await run(due.map(({ call }) => call))
    if (answers.length !== due.length) throw new Error(`${due.length} calls got ${answers.length} answers`)
    for (const [index, answer] of answers.entries()) settleOne(due[index], answer)
  } catch (error) {
    for (const { reject } of due) reject(error)
  }
}
