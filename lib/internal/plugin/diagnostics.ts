import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { channel, type Channel } from 'node:diagnostics_channel'

/** Which request a message is about. */
export interface RequestMessage {
  /** The plugin that answered, `kratosLogout` for instance. */
  readonly plugin: string
  /** `request.id`, as in the log. Empty for a logout without a request. */
  readonly requestId: string
  /** Milliseconds since the plugin got the request. 0 if a hook of the host refused it first, or if nobody listened then. */
  readonly duration: number
}

/** What ended: one session, the other sessions of a subject, all of them, or, in flows that know no sessions, the user's presence. */
export interface LogoutSummary {
  readonly scope: 'session' | 'others' | 'all'
  readonly subject: string
  readonly tenant?: string | undefined
  /** The public id of the session that ended or, for `others`, was kept. */
  readonly sessionId?: string | undefined
}

/** A logout that the store said yes to, on the edge from active to logged out. */
export interface LogoutMessage extends RequestMessage, LogoutSummary {}

/** A request to a logout route that was answered with an error, or with a redirect to a page about one. */
export interface RefusalMessage extends RequestMessage {
  /** The status of the error: 400 to 599, also where the response is a redirect. */
  readonly status: number
}

/** A function or an adapter of the host failed, or was late. */
export interface OutageMessage {
  readonly plugin: string
  /** What was asked, `sessions.logOut` for instance. */
  readonly question: string
  /** Milliseconds since it was asked. */
  readonly duration: number
}

/** What a guard decided about a credential on a route of the host's. */
export interface GuardMessage extends RequestMessage {
  readonly verdict: 'live' | 'revoked' | 'unknown'
}

/** The messages by the name of their channel. None holds a token, nor a text of the host's errors. */
export interface DiagnosticsMessages {
  readonly 'fastify-logout:logout': LogoutMessage
  readonly 'fastify-logout:refusal': RefusalMessage
  readonly 'fastify-logout:outage': OutageMessage
  readonly 'fastify-logout:guard': GuardMessage
}

const channels: { readonly [N in keyof DiagnosticsMessages]: Channel } = {
  'fastify-logout:logout': channel('fastify-logout:logout'),
  'fastify-logout:refusal': channel('fastify-logout:refusal'),
  'fastify-logout:outage': channel('fastify-logout:outage'),
  'fastify-logout:guard': channel('fastify-logout:guard')
}

/**
 * Publishes a message on `node:diagnostics_channel`; it is built only if somebody listens.
 * @see https://nodejs.org/api/diagnostics_channel.html
 */
export function publish<N extends keyof DiagnosticsMessages> (name: N, message: () => DiagnosticsMessages[N]): void {
  if (channels[name].hasSubscribers) channels[name].publish(message())
}

const arrivals = new WeakMap<FastifyRequest, number>()

/** Remembers when a plugin got this request, if anybody listens. */
export function noteArrival (request: FastifyRequest): void {
  if (everyChannel.some(hasSubscribers) && !arrivals.has(request)) arrivals.set(request, performance.now())
}

const everyChannel = Object.values(channels)
const hasSubscribers = (one: Channel) => one.hasSubscribers

/** What a message says of a request, such as the one that a reply answers. */
export function aboutRequest (plugin: string, { request }: { readonly request: FastifyRequest | undefined }): RequestMessage {
  if (request === undefined) return { plugin, requestId: '', duration: 0 }
  const now = performance.now()
  return { plugin, requestId: String(request.id), duration: now - (arrivals.get(request) ?? now) }
}

/** The status of an error that a browser is redirected for, until the redirect is sent. */
const redirectedFor = new WeakMap<FastifyReply, number>()

/** Notes that this reply redirects a browser to a page about an error: the refusal is published with the error's status. */
export function noteRedirectedRefusal (reply: FastifyReply, status: number): void {
  redirectedFor.set(reply, status)
}

/**
 * Publishes every error response of the routes in this scope once it is sent, also when a hook of the host refused the
 * request before this plugin saw it. Call it before the scope's other hooks are added.
 *
 * It watches the response itself: with an `onResponse` hook, Fastify would add listeners to every response.
 */
export function publishRefusals (scope: FastifyInstance, plugin: string): void {
  const watched = new WeakSet<FastifyReply>()

  scope.addHook('onRequest', (request, _reply, done) => {
    noteArrival(request)
    done()
  })
  // When a hook of the host refuses the request, `onSend` is the first of our hooks that runs.
  scope.addHook('onSend', (_request, reply, _payload, done) => {
    if (channels['fastify-logout:refusal'].hasSubscribers && !watched.has(reply)) {
      watched.add(reply)
      reply.raw.once('finish', () => publishRefusal(plugin, reply))
    }
    done()
  })
}

function publishRefusal (plugin: string, reply: FastifyReply): void {
  const status = redirectedFor.get(reply) ?? reply.statusCode
  if (status >= 400) publish('fastify-logout:refusal', () => ({ ...aboutRequest(plugin, reply), status }))
}
