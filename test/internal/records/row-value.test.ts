import t from 'tap'
import { isTrue } from '../../../lib/internal/records/row-value.ts'

t.test('true is recognised in every form that clients give it', async t => {
  for (const value of [true, 'true', 't', 1, 1n, '1']) t.equal(isTrue(value), true, String(value))
  for (const value of [false, 'false', 'f', 0, 0n, '0', null, undefined, '', 'not true', 'trueish', 2, 10, 11, '1x']) {
    t.equal(isTrue(value), false, String(value))
  }
})
