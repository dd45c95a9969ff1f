import t from 'tap'
import { attempt, markListeners, warn } from '../../../lib/internal/marks/listeners.ts'
import type { Mark } from '../../../lib/revocation-store.ts'

const mark: Mark = { tokenId: 't', until: 1 }

t.test('each listener hears each mark, in order, until it stops', async t => {
  const listeners = markListeners(() => {})
  const heard: Array<[string, Mark]> = []
  const listener = (found: Mark) => { heard.push(['same', found]) }
  const stops = [listeners.onRevoked(listener), listeners.onRevoked(listener)]
  listeners.onRevoked(found => { heard.push(['other', found]) })
  const other: Mark = { sessionId: 's', until: 1 }
  listeners.notify([mark, other])
  t.same(heard.splice(0), [['same', mark], ['same', mark], ['other', mark], ['same', other], ['same', other], ['other', other]])
  stops[0]?.()
  stops[0]?.()
  listeners.notify([mark])
  t.same(heard, [['same', mark], ['other', mark]])
})

t.test('an error of a listener, thrown or rejected, goes to the callback for errors, and no further', async t => {
  const errors: unknown[] = []
  const listeners = markListeners(error => { errors.push(error) })
  let heard = 0
  listeners.onRevoked(() => { throw 'thrown' }) // eslint-disable-line no-throw-literal
  listeners.onRevoked(async () => { throw new Error('rejected') })
  listeners.onRevoked(() => { heard++ })
  listeners.notify([mark])
  t.equal(heard, 1)
  await new Promise(resolve => setImmediate(resolve))
  t.match(errors, ['thrown', { message: 'rejected' }])
})

t.test('an error of that callback is a warning of the process', async t => {
  const warnings: string[] = []
  const onWarning = ({ message }: Error) => { warnings.push(message) }
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  for (const onError of [() => { throw new Error('one') }, async () => { throw 2 }]) { // eslint-disable-line no-throw-literal
    const listeners = markListeners(onError)
    listeners.onRevoked(() => { throw new Error('listener') })
    listeners.notify([mark])
  }
  attempt(() => Promise.reject(new Error('three')), warn)
  await new Promise(resolve => setImmediate(resolve))
  await new Promise(resolve => setImmediate(resolve))
  t.same(warnings.sort(), ['2', 'one', 'three'])
})
