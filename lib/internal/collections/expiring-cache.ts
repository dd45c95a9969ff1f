/** A bounded memory. Times are epoch milliseconds. */
export interface ExpiringCache<Value> {
  /** What was put in, if its time is not over. */
  get (key: string): Value | undefined
  /** Keeps a value until an instant, or until `size` newer ones have come. */
  set (key: string, value: Value, until: number): void
}

/** Remembers at most `size` values, forgetting those that came first. No timers: what is over goes when it is asked for or pushed out. */
export function expiringCache<Value> (size: number): ExpiringCache<Value> {
  const entries = new Map<string, { readonly value: Value, readonly until: number }>()
  return {
    get (key) {
      const entry = entries.get(key)
      if (entry === undefined) return undefined
      if (entry.until > Date.now()) return entry.value
      entries.delete(key)
      return undefined
    },

    set (key, value, until) {
      if (until <= Date.now()) return
      entries.delete(key)
      entries.set(key, { value, until })
      const oldest = entries.keys().next()
      if (entries.size > size) entries.delete(String(oldest.value))
    }
  }
}
