import t from 'tap'
import { assertIdKind, assertSessionStore } from '../../../lib/internal/kratos/options.ts'
import { memorySessionStore } from '../../../lib/session-stores/memory.ts'

t.test('a session store must have the methods that a plugin calls', async t => {
  t.doesNotThrow(() => assertSessionStore(memorySessionStore(), ['find', 'list'], 'aPlugin'))
  t.doesNotThrow(() => assertSessionStore({ logOut: () => undefined }, ['logOut'], 'aPlugin'))
  for (const sessions of [undefined, null, 5, {}, { find: () => undefined }, { find: () => undefined, list: true }]) {
    t.throws(() => assertSessionStore(sessions, ['find', 'list'], 'aPlugin'), {
      name: 'TypeError',
      message: 'aPlugin: option "sessions" is missing: pass a session store, such as memorySessionStore(), or an object with find, list'
    })
  }
})

t.test('ids are UUIDs or any text', async t => {
  for (const ids of ['uuid', 'any']) t.doesNotThrow(() => assertIdKind(ids, 'aPlugin'))
  for (const ids of [undefined, null, '', 'UUID', true]) {
    t.throws(() => assertIdKind(ids, 'aPlugin'), { name: 'TypeError', message: 'aPlugin: option "ids" must be "uuid" or "any"' })
  }
})
