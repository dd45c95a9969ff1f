/** A value, or a promise of it: an adapter in this process can return plain values. */
export type Awaitable<T> = T | PromiseLike<T>

/** A contract whose methods all return promises: what an adapter for a database over the network implements. */
export type Promised<Contract> = {
  [Method in keyof Contract]: Contract[Method] extends (...values: infer Values extends readonly unknown[]) => Awaitable<infer Answer>
    ? {
        /** Does what the contract says. */
        (...values: Values): Promise<Answer>
      }
    : Contract[Method]
}

/** A contract whose methods all return plain values: what an adapter in this process implements. */
export type Immediate<Contract> = {
  [Method in keyof Contract]: Contract[Method] extends (...values: infer Values extends readonly unknown[]) => Awaitable<infer Answer>
    ? {
        /** Does what the contract says. */
        (...values: Values): Answer
      }
    : Contract[Method]
}
