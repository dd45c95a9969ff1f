import t from 'tap'
import { isPrefetch } from '../../../lib/internal/http/prefetch.ts'

/** What each sender was seen to send: recorded from its build, or read in its source. */
const prefetches: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'Chromium, speculation rules: prefetch': { 'sec-purpose': 'prefetch', purpose: 'prefetch', 'sec-fetch-mode': 'navigate' },
  'Chromium, speculation rules: prerender': { 'sec-purpose': 'prefetch;prerender', purpose: 'prefetch' },
  'Chromium, a prefetch through a proxy': { 'sec-purpose': 'prefetch;anonymous-client-ip' },
  'Chromium, <link rel="prefetch">': { purpose: 'prefetch', 'sec-fetch-mode': 'no-cors' },
  'Firefox 115 and later, <link rel="prefetch">': { 'sec-purpose': 'prefetch', 'sec-fetch-mode': 'no-cors' },
  'Firefox before 115': { 'x-moz': 'prefetch' },
  'Safari, Top Sites': { 'x-purpose': 'preview' },
  'Safari of 2010': { 'x-purpose': 'prefetch' },
  'a draft of Sec-Purpose': { 'sec-fetch-purpose': 'prefetch' },
  'another draft of Sec-Purpose': { 'moz-purpose': 'prefetch' },
  'Turbo 8': { 'x-sec-purpose': 'prefetch', accept: 'text/html, application/xhtml+xml' },
  'Next.js, App Router: the tree of a route': { rsc: '1', 'next-router-prefetch': '1', 'next-router-segment-prefetch': '/_tree' },
  'Next.js, App Router: a segment alone': { rsc: '1', 'next-router-segment-prefetch': '/__PAGE__' },
  'Next.js, App Router: a full prefetch': { rsc: '1', 'next-router-prefetch': '2' },
  'Next.js, App Router: the data of a page that was clicked, before it navigates': { rsc: '1', 'next-router-state-tree': '[]' },
  'Next.js, Pages Router': { purpose: 'prefetch', 'x-nextjs-data': '1' },
  'Next.js, Pages Router with a middleware': { 'x-middleware-prefetch': '1', 'x-nextjs-data': '1' },
  'Inertia 3': { purpose: 'prefetch', 'x-inertia': 'true' },
  'htmx with preload': { 'hx-preloaded': 'true', 'hx-request': 'true' }
}

t.test('every prefetch that browsers and frameworks send is recognised', async t => {
  for (const [sender, headers] of Object.entries(prefetches)) t.ok(isPrefetch(headers), sender)
})

t.test('each header is enough by itself, in any letter case and with other words around it', async t => {
  for (const name of ['sec-purpose', 'purpose', 'x-purpose', 'x-moz', 'sec-fetch-purpose', 'moz-purpose', 'x-sec-purpose']) {
    for (const value of [
      'prefetch', 'Prefetch', 'preview', 'prerender', '"prefetch"', 'prefetch;x=y', 'other, prefetch', 'a=b; prefetch'
    ]) {
      t.ok(isPrefetch({ [name]: value }), `${name}: ${value}`)
    }
    for (const value of ['', 'navigate', 'noprefetch', 'prefetched']) t.notOk(isPrefetch({ [name]: value }), `${name}: ${value}`)
  }
  for (const name of ['next-router-prefetch', 'next-router-segment-prefetch', 'rsc', 'x-middleware-prefetch', 'hx-preloaded']) {
    for (const value of ['1', '2', '3', 'true', '/_tree', '00']) t.ok(isPrefetch({ [name]: value }), `${name}: ${value}`)
    for (const value of ['', '0', 'false', 'False']) t.notOk(isPrefetch({ [name]: value }), `${name}: ${value}`)
  }
})

t.test('a navigation is not a prefetch', async t => {
  for (const headers of [
    {},
    { 'x-other': 'prefetch' },
    { accept: 'text/html', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', 'sec-fetch-user': '?1' },
    { accept: '*/*', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' },
    { 'next-url': '/', 'next-router-state-tree': '[]' },
    { 'x-nextjs-data': '1' },
    { 'hx-request': 'true' },
    { 'x-inertia': 'true' },
    { accept: 'text/vnd.turbo-stream.html, text/html, application/xhtml+xml', 'x-turbo-request-id': 'x' }
  ]) t.notOk(isPrefetch(headers), JSON.stringify(headers))
})
