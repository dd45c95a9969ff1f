import t from 'tap'
import { isPrefetch } from '../../../lib/internal/http/prefetch.ts'

t.test('what is fetched ahead of its user is told', async t => {
  for (const headers of [
    { 'sec-purpose': 'prefetch' },
    { 'sec-purpose': 'prefetch;prerender' },
    { 'sec-purpose': 'prefetch;anonymous-client-ip' },
    { 'sec-purpose': 'other, prefetch' },
    { 'sec-purpose': '"prefetch"' },
    { purpose: 'prefetch' },
    { purpose: 'Prefetch' },
    { 'x-purpose': 'preview' },
    { 'x-moz': 'prefetch' }
  ]) t.ok(isPrefetch(headers), JSON.stringify(headers))
})

t.test('what its user asked for is no prefetch', async t => {
  for (const headers of [{}, { 'sec-purpose': '' }, { purpose: 'navigate' }, { purpose: 'noprefetch' }, { purpose: 'prefetched' }, { 'x-other': 'prefetch' }]) {
    t.notOk(isPrefetch(headers), JSON.stringify(headers))
  }
})
