import fc from 'fast-check'
import assert from 'node:assert/strict'
import t, { type Test } from 'tap'

import type { JwkSet } from '../../../lib/internal/jose/jwk-set.ts'
import { remoteJwkSet, type RemoteJwkSet, type RemoteJwkSetTimes } from '../../../lib/internal/jose/remote-jwk-set.ts'

const epoch = 1_800_000_000_000
const times: RemoteJwkSetTimes = { cooldown: 30_000, allowedInARow: 10, refreshAfter: 600_000, clockTolerance: 0 }

/** An issuer that answers requests on demand. The test sets its clock and that of the verifier. */
function issuerUnderControl (t: Test, changes: Partial<RemoteJwkSetTimes> = {}) {
  let now = 1000
  t.intercept(performance, 'now', { value: () => now })
  t.intercept(Date, 'now', { value: () => epoch + now })
  const published = new Set<string>()
  const requests: Array<{ answer (): void, fail (): void }> = []
  let requested = 0
  const load = () => {
    requested++
    return new Promise<JwkSet>((resolve, reject) => {
      requests.push({ answer: () => resolve(setOf([...published])), fail: () => reject(new Error('down')) })
    })
  }
  const keys = remoteJwkSet('https://issuer.example', load, { ...times, ...changes })
  return {
    published,
    requests,
    requested: () => requested,
    pass: (milliseconds: number) => { now += milliseconds },
    now: () => epoch + now,
    /** What becomes of a token with this key: `found`, `refused` or `unknown`; a promise of it only if that has to wait. */
    outcome: (kid: string, issuedAt?: number) => outcomeOf(keys, kid, issuedAt),
    /** Answers everything that is asked until nothing more is asked. */
    async answerAll () {
      for (let turn = 0; turn < 5; turn++) {
        for (const request of requests.splice(0)) request.answer()
        await new Promise(resolve => setImmediate(resolve))
      }
    }
  }
}

function setOf (kids: readonly string[]): JwkSet {
  return { find: kid => kid !== undefined && kids.includes(kid) ? () => ({ kid }) : undefined }
}

function outcomeOf (keys: RemoteJwkSet, kid: string, issuedAt: number | undefined): string | Promise<string> {
  const said = (found: unknown) => found === undefined ? 'refused' : 'found'
  try {
    const found = keys.find(set => set.find(kid, 'ES256'), issuedAt)
    return found instanceof Promise ? found.then(said, () => 'unknown') : said(found)
  } catch {
    return 'unknown'
  }
}

/** An issuer that has been asked once, so that there are keys at hand. */
async function loadedIssuer (t: Test, kids: readonly string[], changes: Partial<RemoteJwkSetTimes> = {}) {
  const issuer = issuerUnderControl(t, changes)
  for (const kid of kids) issuer.published.add(kid)
  const first = issuer.outcome(String(kids[0]))
  await issuer.answerAll()
  t.equal(await first, 'found')
  t.equal(issuer.requested(), 1)
  return issuer
}

t.test('a key at hand is found without a promise and without asking', async t => {
  const issuer = await loadedIssuer(t, ['one'])
  t.equal(issuer.outcome('one'), 'found')
  t.equal(issuer.requested(), 1)
})

t.test('one forged token does not hide a key that was rotated in meanwhile', async t => {
  const issuer = await loadedIssuer(t, ['one'])
  const forged = issuer.outcome('forged', issuer.now())
  await issuer.answerAll()
  t.equal(await forged, 'refused')
  issuer.published.add('two')
  const good = issuer.outcome('two', issuer.now())
  await issuer.answerAll()
  t.equal(await good, 'found')
})

t.test('after ten forged tokens in a row a rotated key is an outage and never a refusal, until the cooldown allows to ask', async t => {
  const issuer = await loadedIssuer(t, ['one'])
  for (let i = 0; i < 10; i++) {
    const forged = issuer.outcome(`forged ${i}`, issuer.now())
    await issuer.answerAll()
    t.equal(await forged, 'refused')
  }
  t.equal(issuer.requested(), 11)
  t.equal(await issuer.outcome('forged', issuer.now()), 'unknown')
  issuer.published.add('two')
  t.equal(await issuer.outcome('two', issuer.now()), 'unknown')
  issuer.pass(29_999)
  t.equal(await issuer.outcome('two', issuer.now()), 'unknown')
  t.equal(issuer.outcome('one'), 'found', 'keys at hand serve')
  t.equal(issuer.requested(), 11)
  issuer.pass(1)
  const good = issuer.outcome('two', issuer.now())
  await issuer.answerAll()
  t.equal(await good, 'found')
  t.equal(issuer.requested(), 12)
})

t.test('with an allowance of one, the second unknown key in a row is an outage, also when the first one brought the keys', async t => {
  const issuer = issuerUnderControl(t, { allowedInARow: 1 })
  issuer.published.add('one')
  const first = issuer.outcome('forged', issuer.now())
  await issuer.answerAll()
  t.equal(await first, 'refused')
  t.equal(await issuer.outcome('another', issuer.now()), 'unknown')
  t.equal(issuer.outcome('one'), 'found')
  t.equal(issuer.requested(), 1)
  issuer.pass(30_000)
  const second = issuer.outcome('another', issuer.now())
  await issuer.answerAll()
  t.equal(await second, 'refused')
  t.equal(await issuer.outcome('forged', issuer.now()), 'unknown')
  t.equal(issuer.requested(), 2)
})

t.test('a request that finds a key costs nothing of the allowance', async t => {
  const issuer = await loadedIssuer(t, ['key 0'])
  for (let i = 1; i < 30; i++) {
    issuer.published.clear()
    issuer.published.add(`key ${i}`)
    const rotated = issuer.outcome(`key ${i}`, issuer.now())
    await issuer.answerAll()
    t.equal(await rotated, 'found', `key ${i}`)
  }
})

t.test('a token that is older than the keys is refused without asking, until the cooldown is over', async t => {
  const issuer = await loadedIssuer(t, ['one'])
  t.equal(issuer.outcome('withdrawn', issuer.now() - 60_001), 'refused')
  t.equal(issuer.requested(), 1)
  const young = issuer.outcome('withdrawn', issuer.now() - 60_000)
  await issuer.answerAll()
  t.equal(await young, 'refused')
  t.equal(issuer.requested(), 2, 'clocks may differ by a minute')
  issuer.pass(30_000)
  const again = issuer.outcome('withdrawn', issuer.now() - 90_001)
  await issuer.answerAll()
  t.equal(await again, 'refused')
  t.equal(issuer.requested(), 3)
})

t.test('clockTolerance widens the minute by which clocks may differ', async t => {
  const issuer = await loadedIssuer(t, ['one'], { clockTolerance: 10_000 })
  t.equal(issuer.outcome('withdrawn', issuer.now() - 70_001), 'refused')
  t.not(issuer.outcome('withdrawn', issuer.now() - 70_000), 'refused')
})

t.test('requests for old tokens take nothing from the allowance of new keys', async t => {
  const issuer = await loadedIssuer(t, ['one'])
  for (let i = 0; i < 40; i++) {
    issuer.pass(30_000)
    const withdrawn = issuer.outcome('withdrawn', epoch - 1e9)
    await issuer.answerAll()
    t.equal(await withdrawn, 'refused')
  }
  for (let i = 0; i < 10; i++) {
    const forged = issuer.outcome('forged', issuer.now())
    await issuer.answerAll()
    t.equal(await forged, 'refused')
  }
})

t.test('a request that began before a token came does not decide about it: a slow issuer may have rotated meanwhile', async t => {
  const issuer = await loadedIssuer(t, ['one'])
  const forged = issuer.outcome('forged', issuer.now())
  const [slow] = issuer.requests.splice(0)
  slow?.answer()
  issuer.published.add('two')
  const good = Promise.all(Array.from({ length: 50 }, () => issuer.outcome('two', issuer.now())))
  await issuer.answerAll()
  t.equal(await forged, 'refused')
  t.same([...new Set(await good)], ['found'])
  t.equal(issuer.requested(), 3, 'all of them share the second request')
})

t.test('a token that is older than the keys that it waited for is refused by them', async t => {
  const issuer = await loadedIssuer(t, ['one'])
  issuer.pass(30_000)
  const forged = issuer.outcome('forged', issuer.now())
  const old = issuer.outcome('withdrawn', issuer.now() - 100_000)
  await issuer.answerAll()
  t.same([await forged, await old], ['refused', 'refused'])
  t.equal(issuer.requested(), 2)
})

t.test('1,000 concurrent tokens with forged key ids cause two requests', async t => {
  const issuer = await loadedIssuer(t, ['one'])
  const forged = Promise.all(Array.from({ length: 1000 }, (_, i) => issuer.outcome(`forged ${i}`, issuer.now())))
  await issuer.answerAll()
  t.same([...new Set(await forged)], ['refused'])
  t.equal(issuer.requested(), 3)
})

t.test('concurrent tokens that came too late for the allowance are unknown', async t => {
  const issuer = await loadedIssuer(t, ['one'])
  for (let i = 0; i < 9; i++) {
    const forged = issuer.outcome('forged')
    await issuer.answerAll()
    await forged
  }
  const forged = Promise.all([issuer.outcome('forged'), issuer.outcome('forged')])
  await issuer.answerAll()
  t.same(await forged, ['refused', 'unknown'])
})

t.test('while the issuer fails, unknown keys are unknown, it is asked once a second, and nothing is taken from the allowance', async t => {
  const issuer = await loadedIssuer(t, ['one'])
  const fail = async (kid: string) => {
    const outcome = issuer.outcome(kid)
    for (const request of issuer.requests.splice(0)) request.fail()
    return outcome
  }
  for (let second = 0; second < 30; second++) {
    t.equal(await fail('two'), 'unknown')
    t.equal(await fail('two'), 'unknown')
    t.equal(issuer.outcome('one'), 'found')
    issuer.pass(1000)
  }
  t.equal(issuer.requested(), 31)
  issuer.published.add('two')
  const back = issuer.outcome('two')
  await issuer.answerAll()
  t.equal(await back, 'found')
})

t.test('an issuer that never answered makes every token unknown, also an old one', async t => {
  const issuer = issuerUnderControl(t)
  const outcomes = [issuer.outcome('one'), issuer.outcome('one', 0)]
  for (const request of issuer.requests.splice(0)) request.fail()
  t.same(await Promise.all(outcomes), ['unknown', 'unknown'])
  t.equal(await issuer.outcome('one', 0), 'unknown')
  t.equal(issuer.requested(), 1)
})

t.test('the first response decides about the token that caused the request, and not about those that came later', async t => {
  const issuer = issuerUnderControl(t)
  const outcomes = [issuer.outcome('one'), issuer.outcome('two')]
  const [first] = issuer.requests.splice(0)
  first?.answer()
  issuer.published.add('one').add('two')
  await issuer.answerAll()
  t.same(await Promise.all(outcomes), ['refused', 'found'])
})

t.test('keys older than refreshAfter are fetched again while they serve, also for a token that they refuse', async t => {
  const issuer = await loadedIssuer(t, ['one'])
  issuer.pass(600_000)
  t.equal(issuer.outcome('one'), 'found')
  t.equal(issuer.requested(), 2)
  await issuer.answerAll()
  issuer.pass(600_000)
  const keys = issuer.outcome('forged', issuer.now())
  t.equal(issuer.requested(), 3)
  await issuer.answerAll()
  t.equal(await keys, 'refused', 'the refresh began after the token came, so it answers for it')
  t.equal(issuer.requested(), 3)
})

t.test('a refresh is begun even if the look-up throws: an issuer may have changed a key under its old id', async t => {
  const now = 1000
  let passed = 0
  let requested = 0
  t.intercept(performance, 'now', { value: () => now + passed })
  const keys = remoteJwkSet('https://issuer.example', async () => { requested++; return setOf(['one']) }, times)
  t.equal(await keys.find(() => 'found', undefined), 'found')
  passed = 600_000
  t.throws(() => keys.find(() => { throw new Error('wrong signature') }, undefined), { message: 'wrong signature' })
  t.equal(requested, 2)
})

t.test('keys older than twice refreshAfter serve only after the issuer was asked', async t => {
  const issuer = await loadedIssuer(t, ['one', 'two'])
  issuer.pass(1_200_000)
  issuer.published.delete('one')
  const outcomes = Promise.all([issuer.outcome('one', issuer.now() - 3_600_000), issuer.outcome('two')])
  await new Promise(resolve => setTimeout(resolve, 50))
  const timers = () => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length
  const waiting = timers()
  await issuer.answerAll()
  t.same(await outcomes, ['refused', 'found'])
  t.ok(timers() < waiting, 'no timer is left')
  t.equal(issuer.requested(), 2)
})

t.test('an issuer that does not answer is waited for a second at most while there are keys, and not again after it failed', async t => {
  const issuer = await loadedIssuer(t, ['one'])
  issuer.pass(1_200_000)
  t.equal(await issuer.outcome('one'), 'found')
  t.equal(issuer.requests.length, 1, 'the request still waits for its answer')
  for (const request of issuer.requests.splice(0)) request.fail()
  await new Promise(resolve => setImmediate(resolve))
  t.equal(issuer.outcome('one'), 'found')
  issuer.pass(1000)
  t.equal(issuer.outcome('one'), 'found')
  t.equal(issuer.requested(), 3)
})

type Step = ['pass', number] | ['rotate'] | ['withdraw'] | ['forged'] | ['good'] | ['answer'] | ['fail']

const steps: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(fc.constant('pass' as const), fc.integer({ min: 1, max: 40_000 })),
  ...(['rotate', 'withdraw', 'forged', 'good', 'answer', 'fail'] as const).map(name => fc.tuple(fc.constant(name)))
)

interface Sent {
  readonly kid: string
  outcome: string
  /** Its key was withdrawn while it waited. */
  isWithdrawn: boolean
}

/** Plays a script with an issuer and its clients, whose clocks differ from ours. */
async function play (t: Test, script: readonly Step[], clockDifference: number) {
  const issuer = issuerUnderControl(t)
  const begun = issuer.now()
  const sent: Sent[] = []
  let current = 'key 0'
  issuer.published.add(current)
  const send = (kid: string) => {
    const token: Sent = { kid, outcome: 'waits', isWithdrawn: false }
    const issuedAt = Math.floor((issuer.now() + clockDifference) / 1000) * 1000
    Promise.resolve(issuer.outcome(kid, issuedAt)).then(outcome => { token.outcome = outcome })
    sent.push(token)
  }
  const acts: Record<Step[0], (milliseconds: number) => void> = {
    pass: issuer.pass,
    rotate: () => { issuer.published.add(current = `${current}'`) },
    withdraw: () => {
      issuer.published.clear()
      issuer.published.add(current)
      for (const token of sent) token.isWithdrawn ||= token.outcome === 'waits' && token.kid !== current
    },
    forged: () => send('forged'),
    good: () => send(current),
    answer: () => issuer.requests.shift()?.answer(),
    fail: () => issuer.requests.shift()?.fail()
  }
  for (const [name, milliseconds = 0] of script) {
    acts[name](milliseconds)
    await new Promise(resolve => setImmediate(resolve))
  }
  await issuer.answerAll()
  return { sent, requested: issuer.requested(), elapsed: issuer.now() - begun }
}

t.test('whatever an issuer, its clients and forgers do, no good token is refused, and forgers cause no flood of requests', async t => {
  const scripts = fc.array(steps, { maxLength: 60 })
  const clockDifferences = fc.integer({ min: -59_000, max: 59_000 })
  await fc.assert(fc.asyncProperty(scripts, clockDifferences, async (script, clockDifference) => {
    const { sent, requested, elapsed } = await play(t, script, clockDifference)
    const isWrong = ({ kid, outcome, isWithdrawn }: Sent) =>
      outcome === 'waits' || (!isWithdrawn && outcome === (kid === 'forged' ? 'found' : 'refused'))
    assert.deepEqual(sent.filter(isWrong), [])
    const others = script.filter(([name]) => name === 'rotate' || name === 'fail').length
    assert.ok(requested <= 11 + others + elapsed / times.cooldown + elapsed / times.refreshAfter, `asked ${requested} times`)
  }), { numRuns: 300 })
})
