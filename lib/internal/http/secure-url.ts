/**
 * Whether keys and secrets may be sent to and read from this URL: https, or http on this machine, without a user name or password.
 * @see https://www.rfc-editor.org/rfc/rfc8252#section-8.3 for loopback
 */
export function isSecureUrl (text: unknown): text is string {
  if (typeof text !== 'string' || !URL.canParse(text)) return false
  const { protocol, hostname, username, password } = new URL(text)
  if (username !== '' || password !== '') return false
  return protocol === 'https:' || (protocol === 'http:' && isLoopback(hostname))
}

/** Whether a host name of a parsed URL is always this machine. */
function isLoopback (hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname)
}
