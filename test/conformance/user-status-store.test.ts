import { AssertionError } from 'node:assert'
import t from 'tap'

import { userStatusStoreRules, type UserStatusFixture } from '../../lib/conformance/user-status-store.ts'
import type { StatusChange, UserKey, UserStatus, UserStatusStore, Version } from '../../lib/user-status-store.ts'

interface Ways {
  keyOf: (user: UserKey) => string
  nextVersion: (before: UserStatus | undefined) => Version
  matches: (before: UserStatus | undefined, expected: Version | undefined) => boolean
  mayOverwrite: (status: string) => boolean
  mayLogOut: (status: string) => boolean
  change: (before: UserStatus | undefined, change: StatusChange) => Partial<UserStatus>
  answer: (before: UserStatus | undefined, after: UserStatus | undefined) => UserStatus | undefined
  give: (record: UserStatus) => UserStatus
  /** Between reading and writing: where another node gets in. */
  pause: () => Promise<void> | undefined
}

const ours = (status: string) => status === 'logged_in' || status === 'logged_out'
let versions = 0

const good: Ways = {
  keyOf: ({ tenant, subject }) => JSON.stringify([`${tenant}`, `${subject}`]),
  nextVersion: () => { versions += 1; return versions },
  matches: (before, expected) => before?.version === expected,
  mayOverwrite: ours,
  mayLogOut: ours,
  change: (before, { status, at }) => status === 'logged_out'
    ? { status, loggedOutAt: Math.max(before?.loggedOutAt ?? 0, at) }
    : { status, lastSeenAt: Math.max(before?.lastSeenAt ?? 0, at) },
  answer: before => before,
  give: record => ({ ...record }),
  pause: () => undefined
}

/** A store that does right whatever is not broken on purpose. */
function storeWith (broken: Partial<Ways>, logOut = true): UserStatusFixture {
  const ways = { ...good, ...broken }
  const users = new Map<string, UserStatus>()

  const write = (key: string, after: Partial<UserStatus>, before = users.get(key)): UserStatus => {
    const record = { status: 'logged_in', ...before, ...after, version: ways.nextVersion(before) }
    users.set(key, record)
    return record
  }

  const store: UserStatusStore = {
    async get (user) {
      const record = users.get(ways.keyOf(user))
      return record && ways.give(record)
    },
    async compareAndSet (user, expected, change) {
      const key = ways.keyOf(user)
      const before = users.get(key)
      if (!ways.matches(before, expected) || (before && !ways.mayOverwrite(before.status))) return false
      const pause = ways.pause()
      if (pause) await pause
      write(key, ways.change(before, change), before)
      return true
    },
    ...logOut && {
      async logOut (user: UserKey, { at, requestId }: Omit<StatusChange, 'status'>) {
        const key = ways.keyOf(user)
        const before = users.get(key)
        if (!before || !ways.mayLogOut(before.status)) return ways.answer(before, before)
        const pause = ways.pause()
        if (pause) await pause
        return ways.answer(before, write(key, ways.change(before, { status: 'logged_out', at, requestId }), before))
      }
    }
  }
  return { store, set: (user, status) => { write(ways.keyOf(user), { status }) } }
}

type LogOutArguments = Parameters<NonNullable<UserStatusStore['logOut']>>

/** Breaks `logOut` alone. */
function storeWithLogOut (logOut: (store: UserStatusStore, ...args: LogOutArguments) => unknown): UserStatusFixture {
  const { store, set } = storeWith({})
  return { store: { ...store, logOut: async (...args) => await logOut(store, ...args) as UserStatus | undefined }, set }
}

const nobody: UserStatus = { status: 'logged_out', version: 0 }

/** For each rule, in its words, a store that breaks it. */
const broken: Record<string, Array<() => UserStatusFixture>> = {
  'an unknown user is undefined': [nobody, null as never].map(missing => () => {
    const { store, set } = storeWith({})
    return { store: { ...store, get: async (user: UserKey) => await store.get(user) ?? missing }, set }
  }),
  'compareAndSet without a version creates a record, once': [
    () => storeWith({ matches: (before, expected) => expected === undefined || before?.version === expected }),
    () => storeWith({ matches: (before, expected) => before !== undefined && before.version === expected }),
    () => storeWith({ change: (_, { status }) => ({ status }) })
  ],
  'of 50 parallel creations exactly one succeeds': [
    () => storeWith({ pause: () => new Promise(resolve => setImmediate(resolve)) })
  ],
  'compareAndSet with a version does not create a record': [
    () => storeWith({ matches: (before, expected) => before === undefined || before.version === expected })
  ],
  'compareAndSet with an old version changes nothing': [
    () => storeWith({ matches: () => true })
  ],
  'of 50 parallel compareAndSet of one version exactly one succeeds': [
    () => storeWith({ pause: () => new Promise(resolve => setImmediate(resolve)) })
  ],
  'no version is used twice': [
    () => storeWith({ nextVersion: before => before?.version === 1 ? 2 : 1 }),
    () => storeWith({ nextVersion: before => before?.version ?? 1 })
  ],
  'a login keeps the time of the last logout, a logout the time of the last activity': [
    () => storeWith({
      change: (_, { status, at }) => status === 'logged_out'
        ? { status, loggedOutAt: at }
        : { status, lastSeenAt: at, loggedOutAt: undefined }
    }),
    () => storeWith({
      change: (_, { status, at }) => status === 'logged_out'
        ? { status, loggedOutAt: at, lastSeenAt: undefined }
        : { status, lastSeenAt: at }
    }),
    () => storeWith({
      change: (_, { status, at }) => status === 'logged_out' ? { status, loggedOutAt: at, lastSeenAt: at } : { status, lastSeenAt: at }
    }),
    () => storeWith({
      change: (_, { status, at }) => status === 'logged_out' ? { status, loggedOutAt: at / 1000 } : { status, lastSeenAt: at }
    })
  ],
  'a node with a slow clock moves neither time back': [
    () => storeWith({
      change: (before, change) => ({ ...good.change(before, change), ...change.status === 'logged_out' && { loggedOutAt: change.at } })
    }),
    () => storeWith({
      change: (before, change) => ({ ...good.change(before, change), ...change.status === 'logged_in' && { lastSeenAt: change.at } })
    })
  ],
  'compareAndSet never overwrites a state of the host\'s own': [
    () => storeWith({ mayOverwrite: () => true }),
    () => storeWith({ mayOverwrite: status => status !== 'suspended' && status !== 'terminated' }),
    () => storeWith({ mayOverwrite: status => status.startsWith('logged_') }),
    () => storeWith({ mayOverwrite: status => ours(status.trim().toLowerCase()) })
  ],
  'a write that began before the host changed the state is refused': [() => {
    let version = 0
    return storeWith({ nextVersion: before => before === undefined || ours(before.status) ? (version += 1) : version - 1 })
  }],
  'a record that get returned does not change afterwards': [() => {
    const shared = { status: '', version: 0 }
    return storeWith({ give: record => Object.assign(shared, record) })
  }],
  'users with similar ids are different users': [
    ({ tenant, subject }: UserKey) => subject,
    ({ tenant, subject }: UserKey) => `${tenant}${subject}`,
    ({ tenant, subject }: UserKey) => `${tenant}:${subject}`,
    ({ tenant, subject }: UserKey) => `"${tenant}","${subject}"`,
    ({ tenant, subject }: UserKey) => `${tenant.length}${subject}`,
    ({ tenant, subject }: UserKey) => JSON.stringify([tenant, subject]).toLowerCase(),
    ({ tenant, subject }: UserKey) => JSON.stringify([tenant, subject]).normalize(),
    ({ tenant, subject }: UserKey) => JSON.stringify([tenant.trim(), subject.trim()])
  ].map(keyOf => () => storeWith({ keyOf })),
  'a number as an id is refused, or stands for its text': [
    () => storeWith({ keyOf: user => JSON.stringify(user) }),
    () => storeWith({ keyOf: ({ tenant, subject }) => `${tenant.length}:${tenant}${subject}` }),
    () => {
      const { store, set } = storeWith({})
      const isNumeric = (user: UserKey) => typeof user.tenant === 'number'
      return {
        store: { ...store, compareAndSet: async (user, ...rest) => isNumeric(user) ? true : store.compareAndSet(user, ...rest) }, set
      }
    }
  ],
  'an id is refused or stored, never interpreted': [
    () => storeWith({ keyOf: ({ tenant, subject }) => JSON.stringify([tenant, subject].map(id => id.replace(/\0.*/, ''))) }),
    () => storeWith({ keyOf: ({ tenant, subject }) => JSON.stringify([tenant, subject].map(id => id.slice(0, 255))) }),
    () => storeWith({ keyOf: ({ tenant, subject }) => JSON.stringify([tenant, subject].map(id => Buffer.from(id).toString())) }),
    () => storeWith({
      keyOf: ({ tenant, subject }) => JSON.stringify([tenant, subject].map(id => id.replaceAll('{', '').replaceAll('}', '')))
    }),
    () => {
      const { store, set } = storeWith({})
      const compareAndSet: UserStatusStore['compareAndSet'] = async (user, ...rest) =>
        user.subject.includes('\0') ? true : store.compareAndSet(user, ...rest)
      return { store: { ...store, compareAndSet }, set }
    },
    () => {
      const { store, set } = storeWith({})
      const compareAndSet: UserStatusStore['compareAndSet'] = async (...args) => {
        await store.compareAndSet(...args)
        throw new Error('refused')
      }
      return { store: { ...store, compareAndSet }, set }
    }
  ],
  'logOut of an unknown user is undefined and does not create a record': [
    () => storeWith({ answer: before => before ?? nobody }),
    () => storeWithLogOut(async (store, user, change) => {
      if (await store.compareAndSet(user, undefined, { ...change, status: 'logged_out' })) return undefined
      return store.logOut?.(user, change)
    })
  ],
  'logOut resolves the record as it was before': [
    () => storeWith({ answer: (_, after) => after }),
    () => storeWithLogOut(async (store, user, change) => {
      const before = await store.get(user)
      await store.logOut?.(user, change)
      return before && { status: before.status, version: before.version }
    })
  ],
  'every logOut changes the version, and none moves the time of the last logout back': [
    () => storeWithLogOut(async (store, user, change) => {
      const before = await store.get(user)
      return before?.status === 'logged_out' ? before : store.logOut?.(user, change)
    }),
    () => storeWith({ change: (before, change) => ({ ...good.change(before, change), loggedOutAt: before?.loggedOutAt ?? change.at }) }),
    () => storeWith({ change: (before, change) => ({ ...good.change(before, change), loggedOutAt: change.at }) })
  ],
  'an activity that began before logOut is refused': [
    () => storeWith({ matches: () => true }),
    () => storeWithLogOut(async (store, user, change) => {
      const before = await store.get(user)
      return before?.status === 'logged_out' ? before : store.logOut?.(user, change)
    })
  ],
  'logOut leaves a state of the host\'s own alone': [
    () => storeWith({ mayLogOut: () => true }),
    () => storeWith({ mayLogOut: status => status !== 'suspended' && status !== 'terminated' }),
    () => storeWith({ answer: before => before && ours(before.status) ? before : undefined })
  ],
  'a logout whose time is not whole milliseconds does not make other logouts fail': [() => {
    let poisoned = false
    return storeWithLogOut(async (store, user, change) => {
      poisoned ||= !Number.isInteger(change.at)
      await new Promise(resolve => setImmediate(resolve))
      if (poisoned) throw new Error('invalid input syntax for type bigint: "1000.5"')
      return store.logOut?.(user, change)
    })
  }],
  'of 50 parallel logOut exactly one sees the user logged in': [
    () => storeWith({ pause: () => new Promise(resolve => setImmediate(resolve)) }),
    () => storeWith({ answer: (_, after) => after })
  ],
  'concurrent logouts and logins lose no update': [
    () => storeWith({ pause: () => new Promise(resolve => setImmediate(resolve)) })
  ]
}

t.test('a correct store passes every rule', async t => {
  for (const { name, check } of userStatusStoreRules) await t.resolves(check(() => storeWith({})), name)
})

t.test('a correct store without logOut passes every rule', async t => {
  for (const { name, check } of userStatusStoreRules) await t.resolves(check(() => storeWith({}, false)), name)
})

t.test('a store may refuse ids that it cannot hold', async t => {
  const refuse = ({ tenant, subject }: UserKey) => {
    if (typeof tenant === 'number' || /\0|\p{Cs}|.{1000}/u.test(tenant + subject)) throw new Error('refused')
  }
  for (const { name, check } of userStatusStoreRules) {
    await t.resolves(check(() => {
      const { store, set } = storeWith({})
      return {
        store: {
          ...store,
          async get (user) { refuse(user); return store.get(user) },
          async compareAndSet (user, ...rest) { refuse(user); return store.compareAndSet(user, ...rest) }
        },
        set
      }
    }), name)
  }
})

t.strictSame(Object.keys(broken).sort(), userStatusStoreRules.map(({ name }) => name).sort(), 'each rule has a store that breaks it')

for (const { name, check } of userStatusStoreRules) {
  t.test(`caught: ${name}`, async t => {
    for (const make of broken[name] ?? []) await t.rejects(check(make), AssertionError)
  })
}
