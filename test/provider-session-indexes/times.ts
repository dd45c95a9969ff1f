import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import type { ProviderSessionIndex } from '../../lib/provider-session-index.ts'

const hour = 3_600_000

/** What the conformance rules cannot check without waiting: of two times of a login or a logout, the later one counts. */
export async function checkTimes (t: Test, index: ProviderSessionIndex): Promise<void> {
  const issuer = `https://${randomUUID()}.example`
  const [soon, later] = [Date.now() + 2000, Date.now() + hour]
  const bind = async (sid: string, until: number) => {
    return index.bind({ issuer, subject: 'alice', sid, issuedAt: 1000 }, { sessionId: sid, subject: 'alice' }, until)
  }
  const logOut = async (sid: string, until: number) => index.logOut({ issuer, sid, cutoff: 1000, until })

  for (const until of [later, soon]) await bind('long, then short', until)
  for (const until of [soon, later]) await bind('short, then long', until)
  for (let place = 0; place < 200; place++) await bind(`short ${place}`, soon)
  for (const until of [later, soon]) await logOut('ended for long, then short', until)
  for (const until of [soon, later]) await logOut('ended for short, then long', until)
  await logOut('ended for short', soon)

  await sleep(soon - Date.now() + 50)
  t.equal(await bind('ended for long, then short', later), 'revoked')
  t.equal(await bind('ended for short, then long', later), 'revoked')
  t.equal(await bind('ended for short', soon + hour), 'live')
  for (const sid of ['long, then short', 'short, then long', 'ended for short']) {
    t.strictSame(await logOut(sid, later), [{ sessionId: sid, subject: 'alice' }])
  }
  t.strictSame(await logOut('short 7', later), [])
  const found = await index.logOut({ issuer, subject: 'alice', cutoff: 1000, until: later })
  const ids = found.map(({ sessionId }) => sessionId).filter(id => !id.startsWith('ended for')).sort()
  t.strictSame(ids, ['long, then short', 'short, then long'])
}
