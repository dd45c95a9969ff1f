import t from 'tap'
import { idsOf, userKeyOf } from '../../../lib/internal/records/user-key.ts'

t.test('two users never have one key, whatever is in their ids', async t => {
  const users: ReadonlyArray<readonly [unknown, unknown]> = [
    [1, 23], [12, 3], ['1:1', '1'], ['1', '1:1'], ['', '1'], ['1', ''], ['acme', 'alice'], ['acmea', 'lice']
  ]
  const keys = users.map(([tenant, subject]) => userKeyOf({ tenant, subject } as never))
  t.equal(new Set(keys).size, users.length)
})

t.test('a number and its text are the same user', async t => {
  t.strictSame(idsOf({ tenant: 1, subject: 23n } as never), ['1', '23'])
  t.equal(userKeyOf({ tenant: 1, subject: 23 } as never), userKeyOf({ tenant: '1', subject: '23' }))
})

t.test('an id that is missing, or that some backend cannot keep, is refused', async t => {
  for (const id of [undefined, null, 1.5, {}]) {
    t.throws(() => idsOf({ tenant: id, subject: 'alice' } as never), { name: 'TypeError', message: 'the id of a tenant must be a string' })
    t.throws(() => idsOf({ tenant: 'acme', subject: id } as never), { name: 'TypeError', message: 'the id of a subject must be a string' })
  }
  for (const id of ['a\0', '\ud800']) {
    t.throws(() => idsOf({ tenant: id, subject: 'alice' }), {
      name: 'TypeError', message: 'the id of a tenant must be well-formed Unicode without NUL'
    })
    t.throws(() => userKeyOf({ tenant: 'acme', subject: id }), {
      name: 'TypeError', message: 'the id of a subject must be well-formed Unicode without NUL'
    })
  }
})
