import t from 'tap'
import { wantsPage } from '../../../lib/internal/http/wants-page.ts'

t.test('a caller wants a page if it names HTML and does not prefer JSON', async t => {
  for (const accept of [
    'text/html', 'application/xhtml+xml', 'TEXT/HTML', 'Application/XHTML+xml', ' text/html ', 'text/html;q=0.1', 'text/html; q=0.001',
    'text/html;q=1.000',
    'text/html;level=1', 'text/html;level=1;q=0.2', 'text/html;charset="utf-8"', 'text/html,application/json;q=0.9',
    'application/json;q=0.9,text/html',
    'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', 'application/json;q=0.1, text/html;q=0.2',
    'text/html;q=0, application/xhtml+xml;q=0.5',
    'text/html, application/json;q=0', 'text/html;q=rubbish', 'text/html;q=', 'text/html;q=5', 'text/html;q=0.5, text/html',
    '*/*, text/html',
    'text/vnd.turbo-stream.html, text/html, application/xhtml+xml', ',,text/html,', 'application/json;version=1;q=0.3, text/html;q=0.4'
  ]) t.equal(wantsPage(accept), true, accept)
})

t.test('every other caller does not want a page', async t => {
  for (const accept of [
    undefined, '', '*/*', 'text/*', 'application/*', 'application/json', 'text/html;q=0', 'text/html;q=0.0',
    'text/html, application/json', 'application/json, text/html',
    'text/html;q=0.5, application/json;q=0.5', 'text/html;q=0.5, application/json', 'text/htmlx', 'xtext/html', 'text/html+xml',
    'application/xml', 'text/plain',
    'text', 'html', ';q=1', ',', 'application/json;q=rubbish, text/html;q=0.9', 'text/vnd.turbo-stream.html'
  ]) t.equal(wantsPage(accept), false, String(accept))
})
