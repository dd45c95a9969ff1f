import type { FastifyReply, FastifyRequest } from 'fastify'
import { wantsJson } from '../http/wants-json.ts'
import { sendJson } from '../oauth/error.ts'
import { verbatim } from '../plugin/host-isolation.ts'
import { endSessionPage } from './end-session-page.ts'
import type { EndSessionRequest } from './end-session-request.ts'

/**
 * Makes the function that sends a caller on, to a URL of the host or to the provider: a browser by a redirect, htmx by
 * `HX-Redirect`, a JSON caller by the URL. A logout request that is longer than `maxUrlLength` is a form.
 */
export function onward (maxUrlLength: number) {
  return ({ headers }: FastifyRequest, reply: FastifyReply, next: string | EndSessionRequest): FastifyReply => {
    const url = typeof next === 'string' ? next : next.url
    const form = typeof next === 'string' || url.length <= maxUrlLength ? undefined : next
    if (headers['hx-request'] === 'true') return withoutBody(reply.code(204).header('hx-redirect', url))
    if (wantsJson(headers)) {
      const body = form === undefined ? { logout_url: url } : { logout_url: form.endpoint, method: 'post', fields: form.fields }
      return sendJson(reply, 200, body)
    }
    return form === undefined ? redirect(reply, url) : sendForm(reply, form)
  }
}

/** Redirects a browser, also after a POST. */
export function redirect (reply: FastifyReply, url: string): FastifyReply {
  return withoutBody(reply.code(303).header('location', url))
}

function withoutBody (reply: FastifyReply): FastifyReply {
  return reply.removeHeader('content-type').send()
}

function sendForm (reply: FastifyReply, request: EndSessionRequest): FastifyReply {
  const { html, policy } = endSessionPage(request)
  return reply.code(200)
    .headers({ 'content-type': 'text/html; charset=utf-8', 'content-security-policy': policy })
    .serializer(verbatim)
    .send(html)
}
