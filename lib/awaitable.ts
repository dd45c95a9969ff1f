/** A value, or a promise of it: an in-process adapter answers without a turn of the event loop. */
export type Awaitable<T> = T | PromiseLike<T>
