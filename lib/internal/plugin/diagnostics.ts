import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { channel, type Channel } from 'node:diagnostics_channel'

/** Which request a message is about. */
export interface RequestMessage {
  /** The plugin that responded, for example `kratosLogout`. */
  readonly plugin: string
  /** `request.id`, as in the log. Empty for a logout without a request. */
  readonly requestId: string
  /** Milliseconds since the plugin got the request. 0 if a hook of the host refused it first, or if nobody listened then. */
  readonly duration: number
}

/** What ended: one session, the other sessions of a subject, or all of them. Flows without sessions say `all`. */
export interface LogoutSummary {
  readonly scope: 'session' | 'others' | 'all'
  readonly subject: string
  readonly tenant?: string | undefined
  /** The public id of the session that ended. For `others`, of the session that was left alone. */
  readonly sessionId?: string | undefined
}

/** A logout that the store confirmed: an active session, or a logged-in user, is now logged out. */
export interface LogoutMessage extends RequestMessage, LogoutSummary {}

/** A request to a logout route whose response was an error, or a redirect to a page about one. */
export interface RefusalMessage extends RequestMessage {
  /** The status of the error: 400 to 599, also where the response is a redirect. */
  readonly status: number
}

/** A function or an adapter of the host failed or timed out. */
export interface OutageMessage {
  readonly plugin: string
  /** The function that was called, for example `sessions.logOut`. */
  readonly question: string
  /** Milliseconds since it was called. */
  readonly duration: number
}

/** What a guard decided about a credential on one of the host's routes. */
export interface GuardMessage extends RequestMessage {
  readonly verdict: 'live' | 'revoked' | 'unknown'
}

/** An attempt to notify another application of a logout. */
export interface DeliveryMessage {
  readonly clientId: string
  /** `failed`: it is attempted again. Everything but `delivered`, `failed` and `no-client` is dead. */
  readonly outcome: 'delivered' | 'failed' | 'refused' | 'expired' | 'forbidden-address' | 'misconfigured' | 'no-client'
  /** 1 for the first. */
  readonly attempt: number
  /** Of the application's response, if there was one. */
  readonly status?: number | undefined
  /** Milliseconds of this attempt. */
  readonly duration: number
  /** Milliseconds since the delivery was put into the queue. */
  readonly age: number
}

/** The messages by the name of their channel. No message contains a token or the text of an error. */
export interface DiagnosticsMessages {
  readonly 'fastify-logout:logout': LogoutMessage
  readonly 'fastify-logout:refusal': RefusalMessage
  readonly 'fastify-logout:outage': OutageMessage
  readonly 'fastify-logout:guard': GuardMessage
  readonly 'fastify-logout:delivery': DeliveryMessage
}

const channels: { readonly [N in keyof DiagnosticsMessages]: Channel } = {
  'fastify-logout:logout': channel('fastify-logout:logout'),
  'fastify-logout:refusal': channel('fastify-logout:refusal'),
  'fastify-logout:outage': channel('fastify-logout:outage'),
  'fastify-logout:guard': channel('fastify-logout:guard'),
  'fastify-logout:delivery': channel('fastify-logout:delivery')
}

/**
 * Publishes a message on `node:diagnostics_channel`. The message is built only if somebody listens.
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
