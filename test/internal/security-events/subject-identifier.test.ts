import t from 'tap'
import { isProblem, readSubject, readUserSubject } from '../../../lib/internal/security-events/subject-identifier.ts'

const users = [
  { format: 'email', email: 'Alice@Example.com' }, { format: 'iss_sub', iss: 'https://login.example', sub: '1' },
  { format: 'opaque', id: '1' },
  { format: 'phone_number', phone_number: '+12065550100' }, { format: 'account', uri: 'acct:alice@example.com' },
  { format: 'did', url: 'did:example:1' }, { format: 'uri', uri: 'https://example.com/alice' }
]
const others = [
  { format: 'jwt_id', iss: 'https://login.example', jti: '1' },
  { format: 'saml_assertion_id', issuer: 'https://login.example', assertion_id: '1' },
  { format: 'ip-addresses', 'ip-addresses': ['192.0.2.1', '2001:db8::1'] }
]

t.test('a subject keeps the members of its format, and loses all others', async t => {
  for (const subject of users) {
    t.strictSame(readUserSubject({ ...subject, more: 1 }), subject)
    t.strictSame(readSubject({ ...subject, more: 1 }), subject)
  }
  for (const subject of others) {
    t.strictSame(readSubject({ ...subject, more: 1 }), subject)
    t.strictSame(readUserSubject(subject), { problem: 'format' })
  }
  const aliases = { format: 'aliases', identifiers: users }
  t.strictSame(readUserSubject(aliases), aliases)
  t.strictSame(readSubject(aliases), aliases)
})

t.test('what is missing or wrong has a name', async t => {
  for (const wrong of [undefined, null, 'alice', 5, []]) t.strictSame(readSubject(wrong), { problem: 'sub_id' })
  for (const format of [undefined, null, '', 5, ['email'], 'x'.repeat(1025)]) t.strictSame(readSubject({ format }), { problem: 'format' })
  for (const subject of [...users, ...others]) {
    const { format, ...members } = subject
    for (const name of Object.keys(members)) {
      for (const wrong of [undefined, null, '', 5, [], [''], 'x'.repeat(1025)]) {
        t.strictSame(readSubject({ ...subject, [name]: wrong }), { problem: name }, `${format} ${name}`)
      }
    }
  }
  t.strictSame(readSubject(Object.create({ format: 'email', email: 'a' })), { problem: 'format' }, 'inherited members do not count')
})

t.test('aliases are one to ten users, none of them aliases', async t => {
  const list = (identifiers: unknown) => readSubject({ format: 'aliases', identifiers })
  t.ok(!isProblem(list(Array(10).fill(users[0]))))
  for (const wrong of [Array(11).fill(users[0]), [], 'x', undefined, [5], [null]]) t.strictSame(list(wrong), { problem: 'identifiers' })
  for (const wrong of [others[0], { format: 'aliases', identifiers: users }, { format: 'complex' }, {}]) {
    t.strictSame(list([wrong]),
      { problem: 'format' })
  }
  t.strictSame(list([users[0], { format: 'opaque' }]), { problem: 'id' })
})

t.test('a format that is not known is handed on as it is, and no name of a method is a format', async t => {
  for (const format of ['x', 'constructor', 'toString', '__proto__', 'hasOwnProperty']) {
    t.strictSame(readSubject({ format, a: 1 }), { format: 'unknown', members: { format, a: 1 } })
    t.strictSame(readUserSubject({ format }), { problem: 'format' })
  }
})

t.test('the members of a complex subject are read one by one', async t => {
  const user = '{"format":"opaque","id":"1","more":1}'
  const complex = JSON.parse(`{"format":"complex","user":${user},"group":{"format":"x"},"list":[1],"__proto__":"a"}`) as object
  const read = readSubject(complex)
  t.match(read, {
    format: 'complex',
    user: { format: 'opaque', id: '1' },
    group: { format: 'unknown', members: { format: 'x' } },
    list: [1]
  })
  t.notMatch(read, { user: { more: 1 } })
  t.equal(Object.getPrototypeOf(read), Object.prototype)
  t.strictSame(readSubject({ format: 'complex', user: { format: 'email' } }), { problem: 'email' })
  t.strictSame(readSubject({ format: 'complex', user: {} }), { problem: 'format' })
  t.strictSame(readSubject({ format: 'complex', user: { format: 'complex' } }), {
    format: 'complex', user: { format: 'unknown', members: { format: 'complex' } }
  }, 'none is in another one')
  t.equal(isProblem({ problem: 'x', format: 'y' }), false)
})
