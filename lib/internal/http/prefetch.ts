import type { IncomingHttpHeaders } from 'node:http'

/** Values of the headers that name the purpose of a request, as whole words: `prefetch;prerender` counts, `noprefetch` does not. */
const purpose = /\b(?:prefetch|prerender|preview)\b/i
/** Values of the headers that only prefetches have. */
const present = /^(?!0$|false$)./i

/**
 * Whether a browser, or a framework in it, requests this page before its user asks for it: a prefetch, a prerender or a
 * preview. Such a request must not change anything.
 *
 * A prefetch without any of these headers looks like a click. quicklink and Astro send such prefetches in browsers that lack
 * `<link rel="prefetch">`, which Safari does by default.
 */
export function isPrefetch (headers: IncomingHttpHeaders): boolean {
  // Each header with the source that it was read in. The names stand in the code, and not in a list, because V8 finds
  // members that are named several times as fast.
  return (
    // Speculation rules ("prefetch;prerender", "prefetch;anonymous-client-ip"), and <link rel="prefetch"> in Firefox 115 and later.
    // https://fetch.spec.whatwg.org/#sec-purpose-header, Chromium: third_party/blink/public/common/navigation/preloading_headers.h
    is(purpose, headers['sec-purpose']) ||
    // <link rel="prefetch"> in Chromium: what instant.page, quicklink, Flying Pages, Astro, Nuxt and React Router make of a link.
    // https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Sec-Purpose#browser_compatibility
    // Next.js 16.4, Pages Router: next/dist/shared/lib/router/router.js. Inertia 3.7: @inertiajs/core/dist/index.js.
    is(purpose, headers['purpose']) ||
    // Safari's Top Sites ("preview") and the browser in Facebook's apps.
    // https://lists.webkit.org/pipermail/webkit-dev/2010-September/014485.html
    is(purpose, headers['x-purpose']) ||
    // Firefox before 115. https://developer.mozilla.org/docs/Glossary/Prefetch
    is(purpose, headers['x-moz']) ||
    // Drafts of Sec-Purpose. https://github.com/sergiodxa/remix-utils, src/server/is-prefetch.ts
    is(purpose, headers['sec-fetch-purpose']) ||
    is(purpose, headers['moz-purpose']) ||
    // Turbo 8.0, since scripts cannot set Sec-Purpose. @hotwired/turbo/dist/turbo.es2017-esm.js
    is(purpose, headers['x-sec-purpose']) ||
    // Next.js 16.4, App Router: "1", "2" or "3", and the path of a segment.
    // next/dist/client/components/app-router-headers.js and segment-cache/cache.js
    is(present, headers['next-router-prefetch']) ||
    is(present, headers['next-router-segment-prefetch']) ||
    // The same for all that its router fetches, after a click too. When that fails it navigates, so that the browser gets the
    // redirect: a fetch could not follow it to another origin. next/dist/client/components/router-reducer/fetch-server-response.js
    is(present, headers['rsc']) ||
    // Next.js 16.4, Pages Router with a middleware. next/dist/shared/lib/router/router.js
    is(present, headers['x-middleware-prefetch']) ||
    // htmx with its preload extension ("true"). htmx-ext-preload/dist/preload.js
    is(present, headers['hx-preloaded'])
  )
}

function is (value: RegExp, header: string | string[] | undefined): boolean {
  return header !== undefined && value.test(String(header))
}
