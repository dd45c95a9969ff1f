import t from 'tap'
import { levelWithoutRequests } from '../../../lib/internal/plugin/log-level.ts'

t.test('requests are not logged, and nothing is logged that the host has turned off', async t => {
  const levels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent', 'custom']
  t.strictSame(levels.map(level => levelWithoutRequests({ level })), ['warn', 'warn', 'warn', 'warn', 'error', 'fatal', 'fatal', 'warn'])
})
