import type { IncomingHttpHeaders } from 'node:http'

/** Values of the headers that name the purpose of a request, as whole words: `prefetch;prerender` counts, `noprefetch` does not. */
const purpose = /\b(?:prefetch|prerender|preview)\b/i
/** Values of the headers that only prefetches have. */
const present = /^(?!0$|false$)./i

/** The headers of prefetches, with the values that mark one. Each was read in the source that stands above it. */
const prefetchHeaders: ReadonlyArray<readonly [name: string, value: RegExp]> = [
  // Speculation rules ("prefetch;prerender", "prefetch;anonymous-client-ip"), and <link rel="prefetch"> in Firefox 115 and later.
  // https://fetch.spec.whatwg.org/#sec-purpose-header, Chromium: third_party/blink/public/common/navigation/preloading_headers.h
  ['sec-purpose', purpose],
  // <link rel="prefetch"> in Chromium: what instant.page, quicklink, Flying Pages, Astro, Nuxt and React Router make of a link.
  // https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Sec-Purpose#browser_compatibility
  // Next.js 16.4, Pages Router: next/dist/shared/lib/router/router.js. Inertia 3.7: @inertiajs/core/dist/index.js.
  ['purpose', purpose],
  // Safari's Top Sites ("preview") and the browser in Facebook's apps.
  // https://lists.webkit.org/pipermail/webkit-dev/2010-September/014485.html
  ['x-purpose', purpose],
  // Firefox before 115. https://developer.mozilla.org/docs/Glossary/Prefetch
  ['x-moz', purpose],
  // Drafts of Sec-Purpose. https://github.com/sergiodxa/remix-utils, src/server/is-prefetch.ts
  ['sec-fetch-purpose', purpose],
  ['moz-purpose', purpose],
  // Turbo 8.0, since scripts cannot set Sec-Purpose. @hotwired/turbo/dist/turbo.es2017-esm.js
  ['x-sec-purpose', purpose],
  // Next.js 16.4, App Router: "1", "2" or "3", and the path of a segment.
  // next/dist/client/components/app-router-headers.js and segment-cache/cache.js
  ['next-router-prefetch', present],
  ['next-router-segment-prefetch', present],
  // The same for all that its router fetches, after a click too. When that fails it navigates, so that the browser gets the
  // redirect: a fetch could not follow it to another origin. next/dist/client/components/router-reducer/fetch-server-response.js
  ['rsc', present],
  // Next.js 16.4, Pages Router with a middleware. next/dist/shared/lib/router/router.js
  ['x-middleware-prefetch', present],
  // htmx with its preload extension ("true"). htmx-ext-preload/dist/preload.js
  ['hx-preloaded', present]
]

/**
 * Whether a browser, or a framework in it, requests this page before its user asks for it: a prefetch, a prerender or a
 * preview. Such a request must not change anything.
 *
 * A prefetch without any of these headers looks like a click. quicklink and Astro send such prefetches in browsers that lack
 * `<link rel="prefetch">`, which Safari does by default.
 */
export function isPrefetch (headers: IncomingHttpHeaders): boolean {
  return prefetchHeaders.some(([name, value]) => headers[name] !== undefined && value.test(String(headers[name])))
}
