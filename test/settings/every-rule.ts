import type { Test } from 'tap'
import type { Awaitable } from '../../lib/awaitable.ts'
import { providerSessionIndexRules } from '../../lib/conformance/provider-session-index.ts'
import { revocationFeedRules } from '../../lib/conformance/revocation-feed.ts'
import { revocationStoreRules } from '../../lib/conformance/revocation-store.ts'
import { sessionStoreRules } from '../../lib/conformance/session-store.ts'
import { userStatusStoreRules } from '../../lib/conformance/user-status-store.ts'
import type { ProviderSessionIndex } from '../../lib/provider-session-index.ts'
import type { FollowableRevocationStore } from '../../lib/revocation-store.ts'
import type { SessionStore } from '../../lib/session-store.ts'
import type { UserRecords, UserStatusStore } from '../../lib/user-status-store.ts'

/** Makes a store of each kind on a database, with nothing in it. */
export interface MakeStores {
  readonly sessions: () => Awaitable<SessionStore>
  readonly users: () => Awaitable<UserStatusStore & UserRecords>
  readonly marks?: () => Awaitable<FollowableRevocationStore>
  readonly logins?: () => Awaitable<ProviderSessionIndex>
}

/** Checks every rule of the stores on a database. Those of a feed are chosen by their names. */
export async function keepsEveryRule (
  t: Test, { sessions, users, marks, logins }: MakeStores, isOfFeed: (rule: string) => boolean = () => true
): Promise<void> {
  const store = await sessions()
  for (const rule of sessionStoreRules) await t.resolves(rule.check(() => store), `sessions: ${rule.name}`)

  for (const rule of userStatusStoreRules) {
    await t.resolves(rule.check(async () => {
      const store = await users()
      return { store, set: store.set }
    }), `users: ${rule.name}`)
  }

  const revocations = await marks?.()
  const feed = revocationFeedRules.filter(({ name }) => isOfFeed(name))
  for (const rule of revocations === undefined ? [] : [...revocationStoreRules, ...feed]) {
    await t.resolves(rule.check(() => revocations as FollowableRevocationStore), `marks: ${rule.name}`)
  }

  const index = await logins?.()
  for (const rule of index === undefined ? [] : providerSessionIndexRules) {
    await t.resolves(rule.check(() => index as ProviderSessionIndex), `logins: ${rule.name}`)
  }
}
