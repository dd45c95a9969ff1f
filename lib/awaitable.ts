/** A value, or a promise of it: an in-process adapter answers without a turn of the event loop. */
export type Awaitable<T> = T | PromiseLike<T>

/** A contract whose methods all return promises: what an adapter for a database over the network implements. */
export type Promised<Contract> = {
  [Method in keyof Contract]: Contract[Method] extends (...values: infer Values extends readonly unknown[]) => Awaitable<infer Answer>
    ? (...values: Values) => Promise<Answer>
    : Contract[Method]
}

/** A contract whose methods all return plain values: what an adapter in this process implements. */
export type Immediate<Contract> = {
  [Method in keyof Contract]: Contract[Method] extends (...values: infer Values extends readonly unknown[]) => Awaitable<infer Answer>
    ? (...values: Values) => Answer
    : Contract[Method]
}
