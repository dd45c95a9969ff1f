import t from 'tap'
import { poll, type PollRequest } from '../../../lib/internal/security-events/poll-request.ts'

function request (fetch: PollRequest['fetch'], changes: Partial<PollRequest> = {}): PollRequest {
  return {
    fetch,
    endpoint: 'https://transmitter.example/poll',
    authorization: 'Bearer a',
    body: { maxEvents: 5, returnImmediately: true, ack: [], setErrs: {} },
    timeout: 5000,
    signal: new AbortController().signal,
    ...changes
  }
}

const answering = (body: string | null, init: ResponseInit = {}): PollRequest['fetch'] => async () => new Response(body, init)
const hanging: PollRequest['fetch'] = (_url, init) => new Promise((_resolve, reject) => {
  init?.signal?.addEventListener('abort', () => reject(new Error('aborted')))
  if (init?.signal?.aborted === true) reject(new Error('aborted'))
})

t.test('it sends what is asked for, and leaves out what is empty', async t => {
  const sent: unknown[] = []
  const fetch: PollRequest['fetch'] = async (url, init) => {
    sent.push(url, init?.method, init?.redirect, init?.headers, JSON.parse(String(init?.body)))
    return new Response('{"sets":{"a":"1","b":"2"},"moreAvailable":true}')
  }
  t.strictSame(await poll(request(fetch)), [['a', '1'], ['b', '2']])
  t.strictSame(sent.splice(0), [
    'https://transmitter.example/poll', 'POST', 'manual',
    { accept: 'application/json', 'content-type': 'application/json', authorization: 'Bearer a' }, { maxEvents: 5, returnImmediately: true }
  ])
  const setErrs = { c: { err: 'invalid_key', description: 'key' } }
  await poll(request(fetch, { body: { maxEvents: 0, returnImmediately: false, ack: ['a'], setErrs } }))
  t.strictSame(sent[4], { maxEvents: 0, returnImmediately: false, ack: ['a'], setErrs })
})

t.test('an answer that is not one of events is an error, which repeats nothing of it', async t => {
  for (const [body, init, message] of [
    ['secret', {}, 'the response is not JSON'], ['{"sets":"secret"}', {}, 'the response has no object of sets'],
    ['{"sets":["secret"]}', {}, 'the response has no object of sets'],
    ['{"sets":null}', {}, 'the response has no object of sets'], ['null', {}, 'the response has no object of sets'],
    [null, {}, 'the response is not JSON'],
    ['secret', { status: 500 }, 'the transmitter responded with status 500'],
    [null, { status: 204 }, 'the transmitter responded with status 204'],
    [`{"sets":{"a":"${'x'.repeat(1024 * 1024)}"}}`, {}, 'the response is longer than 1 MiB']
  ] as const) await t.rejects(poll(request(answering(body, init))), { name: 'PollFailure', message })
  const longest = `{"sets":{"a":"${'x'.repeat(1024 * 1024 - 15)}"}}`.slice(0, 1024 * 1024)
  await t.rejects(poll(request(answering(longest))), { message: 'the response is not JSON' }, 'one MiB is read')
})

t.test('a failure says how long the transmitter asks to wait, at most an hour', async t => {
  const wait = async (header: string) => {
    const failure = await poll(request(answering('', { status: 503, headers: { 'retry-after': header } }))).catch(error => error)
    return failure.retryAfter as number | undefined
  }
  t.equal(await wait('0'), 0)
  t.equal(await wait('7'), 7000)
  t.equal(await wait('999999'), 3_600_000)
  t.equal(await wait(new Date(Date.now() - 60_000).toUTCString()), 0)
  t.ok(Math.abs(Number(await wait(new Date(Date.now() + 60_000).toUTCString())) - 60_000) < 2000)
  for (const nonsense of ['soon', '']) t.equal(await wait(nonsense), undefined, nonsense)
  t.match(await poll(request(answering('', { status: 401 }))).catch(error => error), { status: 401, retryAfter: undefined })
})

t.test('a poll that takes too long is cut, and is not a failure; one that the caller cuts is', async t => {
  t.equal(await poll(request(hanging, { timeout: 20 })), 'timeout')
  const cut = new AbortController()
  const cutting = poll(request(hanging, { signal: cut.signal }))
  cut.abort()
  await t.rejects(cutting, { message: 'aborted' })
  await t.rejects(poll(request(hanging, { signal: cut.signal })), { message: 'aborted' }, 'before it began')
  t.equal(process.getActiveResourcesInfo().filter(name => name === 'Timeout').length, 0, 'no timer is left')
})
