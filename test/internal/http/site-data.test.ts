import t from 'tap'
import { clearSiteDataHeader, type SiteData } from '../../../lib/internal/http/site-data.ts'

t.test('directives are quoted and listed, and without any the header is empty', async t => {
  t.equal(clearSiteDataHeader(['cache', 'storage'], 'aPlugin', 'clear.siteData'), '"cache", "storage"')
  t.equal(clearSiteDataHeader([], 'aPlugin', 'clear.siteData'), '')
  t.equal(clearSiteDataHeader(undefined, 'aPlugin', 'clear.siteData'), '')
})

t.test('an unknown directive throws a TypeError', async t => {
  for (const wrong of [['cookie'], ['*'], 'cache', {}, ['cache', '']]) {
    t.throws(() => clearSiteDataHeader(wrong as SiteData[], 'aPlugin', 'clear.siteData'), {
      name: 'TypeError', message: 'aPlugin: option "clear.siteData" must be a list of cache, cookies, storage, executionContexts, '
    }, JSON.stringify(wrong))
  }
})
