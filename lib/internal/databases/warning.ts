const warned = new WeakMap<object, Set<string>>()

/** Emits a process warning under this code, once for each client of the host. */
export function warnOnce (client: object, code: string, message: string): void {
  const codes = warned.get(client) ?? new Set()
  if (codes.has(code)) return
  warned.set(client, codes.add(code))
  process.emitWarning(message, { type: 'FastifyLogoutWarning', code })
}
