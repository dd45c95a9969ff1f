import t from 'tap'
import { warnOnce } from '../../../lib/internal/databases/warning.ts'
import { warningsOf } from './warnings.ts'

t.test('a client is warned of once for each code, and every client by itself', async t => {
  const [one, other] = [{}, {}]
  const warnings = await warningsOf(t, () => {
    for (const client of [one, one, other]) {
      warnOnce(client, 'A', 'first')
      warnOnce(client, 'B', 'second')
    }
  })
  t.match(warnings, ['first', 'second', 'first', 'second'].map(message => ({ name: 'FastifyLogoutWarning', message })))
  t.equal(warnings.length, 4)
  t.match(warnings, [{ code: 'A' }, { code: 'B' }])
})
