import { randomBytes } from 'node:crypto'
import type { EndSessionRequest } from './end-session-request.ts'

/** A page, and the `Content-Security-Policy` that it needs. */
export interface Page {
  readonly html: string
  readonly policy: string
}

/**
 * Makes a page with a form that posts itself to the provider, for requests that are too long for a URL. It has a button for
 * browsers without scripts.
 *
 * The policy has no `form-action`: Chromium applies it to the redirects behind the POST too, and the return to this host
 * would be blocked.
 */
export function endSessionPage ({ endpoint, fields }: EndSessionRequest): Page {
  const nonce = randomBytes(16).toString('base64url')
  const inputs = Object.entries(fields).map(([name, value]) => `<input type="hidden" name="${escaped(name)}" value="${escaped(value)}">`)
  const html = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Logging out</title>
<form method="post" action="${escaped(endpoint)}">
${inputs.join('\n')}
<noscript><button>Log out</button></noscript>
</form>
<script nonce="${nonce}">document.forms[0].submit()</script>
</html>
`
  return { html, policy: `default-src 'none'; script-src 'nonce-${nonce}'; base-uri 'none'; frame-ancestors 'none'` }
}

function escaped (text: string): string {
  return text.replace(/[&<>"']/g, character => `&#${character.charCodeAt(0)};`)
}
