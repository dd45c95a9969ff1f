/**
 * Whether keys and secrets may travel to and from this URL: https, or http on this very machine, and no password in it.
 * @see https://www.rfc-editor.org/rfc/rfc8252#section-8.3 for loopback
 */
export function isSecureUrl (text: unknown): text is string {
  if (typeof text !== 'string' || !URL.canParse(text)) return false
  const { protocol, hostname, username, password } = new URL(text)
  if (username !== '' || password !== '') return false
  return protocol === 'https:' || (protocol === 'http:' && isLoopback(hostname))
}

/** The names and addresses of this machine that never leave it, as a parsed URL spells them. */
function isLoopback (hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname)
}
