import { writeSync } from 'node:fs'
import { openQueue } from './delivery-queues.ts'

// A worker that says each delivery in hand, and never ends one whose id begins with "hang".
const [name = '', place = ''] = process.argv.slice(2)
const { queue } = await openQueue(name, place)
await queue.work(async ({ id }) => {
  writeSync(1, `${id}\n`)
  if (id.startsWith('hang')) await new Promise(() => {})
  await new Promise(resolve => setTimeout(resolve, 20))
  return 'done'
}, { parallel: 5, timeout: 10_000 })
