import t from 'tap'
import { isSecureUrl } from '../../../lib/internal/http/secure-url.ts'

t.test('https, and http on the same machine, are secure', async t => {
  for (const url of [
    'https://app.example', 'HTTPS://app.example/a?b', 'http://localhost', 'http://localhost:3000/x', 'http://LOCALHOST/',
    'http://127.0.0.1:1/',
    'http://127.1.2.3/', 'http://127.1/', 'http://[::1]:3000/', 'http://0x7f.1/'
  ]) t.ok(isSecureUrl(url), url)
})

t.test('http elsewhere, other schemes, URLs with a password and other texts are not', async t => {
  for (const url of [
    'http://app.example', 'http://localhost.evil.example', 'http://evil-localhost', 'http://127.0.0.1.evil.example',
    'http://[::2]/', 'http://128.0.0.1/',
    'http://10.0.0.1/', 'http://0.0.0.0/', 'ws://localhost/', 'ftp://localhost/', 'file:///etc/passwd', 'https://user@app.example',
    'https://:secret@app.example', 'http://user@localhost/', '/path', '', undefined, null, 5, new URL('https://app.example')
  ]) t.notOk(isSecureUrl(url), String(url))
})
