import t from 'tap'
import { tcpProxy } from '../servers/tcp-proxy.ts'
import { tokens, watch } from './revocation-following.ts'
import { create, host, tokenOf } from './session-survival.ts'
import { sqlServers } from './sql-servers.ts'

const alice = { tenant: 'acme', subject: 'alice' }

t.setTimeout(300_000)

for (const { name, withStandby, nodeAt } of sqlServers) {
  t.test(`${name}: after a standby that was behind is promoted, the stores are as they were earlier`, t => withStandby(t, async servers => {
    const before = nodeAt(t, servers.primary.port)
    await before.migrate()
    for (const id of ['kept', 'ended', 'ended-late']) await create(before.sessions, id)
    await create(before.sessions, 'ended-with-subject', 'bob')
    await before.sessions.logOut(tokenOf('ended'))
    await before.users.set(alice, 'logged_in')
    await before.revocations.revoke(...tokens('early', 1))
    await servers.caughtUp()

    servers.cutReplication()
    t.equal((await before.sessions.logOut(tokenOf('ended-late')))?.status, 'active')
    t.equal(await before.sessions.logOutSubject({ subject: 'bob', count: true }), 1)
    await create(before.sessions, 'opened-late', 'bob')
    await before.users.logOut?.(alice, { at: 1000, requestId: 'r' })
    await before.revocations.revoke(...tokens('late', 1))
    await servers.failOver()

    const after = nodeAt(t, servers.standby.port)
    const ids = ['kept', 'ended', 'ended-late', 'ended-with-subject', 'opened-late']
    const statuses = Object.fromEntries(await Promise.all(ids.map(async id => [id, (await after.sessions.find(tokenOf(id)))?.status])))
    t.strictSame(statuses, {
      kept: 'active', ended: 'logged_out', 'ended-late': 'active', 'ended-with-subject': 'active', 'opened-late': undefined
    })
    t.equal((await after.users.get(alice))?.status, 'logged_in')
    t.equal(await after.revocations.check({ tokenId: 'early-0' }), 'revoked')
    t.equal(await after.revocations.check({ tokenId: 'late-0' }), 'live', 'a mark that was not replicated is lost')

    t.equal((await after.sessions.logOut(tokenOf('ended-late')))?.status, 'active', 'logging out again holds')
    t.equal(await after.sessions.logOutSubject({ subject: 'bob', count: true }), 1)
    t.equal((await after.sessions.find(tokenOf('ended-with-subject')))?.status, 'logged_out')
    t.equal((await after.users.logOut?.(alice, { at: 1000, requestId: 'r' }))?.status, 'logged_in')
    t.equal(await after.revocations.revoke(...tokens('late', 1)), true)
  }))

  t.test(`${name}: with a standby that acknowledges, no failover undoes an answered logout`, t => withStandby(t, async servers => {
    const before = nodeAt(t, servers.primary.port)
    await before.migrate()
    await servers.waitForStandby()
    const ids = Array.from({ length: 40 }, (_, index) => `session-${index}`)
    for (const id of ids) await create(before.sessions, id)
    const node = await host(before.sessions)
    const early = await Promise.all(ids.slice(0, 20).map(id => node.logOut(id)))
    servers.cutReplication()
    const late = await Promise.all(ids.slice(20).map(id => node.logOut(id)))
    await servers.failOver()

    t.ok(early.every(({ status }) => status === 204))
    t.ok(late.every(({ status }) => status === 500), 'what the standby does not have was answered to nobody')
    const after = nodeAt(t, servers.standby.port)
    const statuses = await Promise.all(ids.map(async id => (await after.sessions.find(tokenOf(id)))?.status))
    t.strictSame(statuses, ids.map((_, index) => index < 20 ? 'logged_out' : 'active'))
  }))

  t.test(`${name}: a replica of the marks loads those of a standby that was behind and was promoted`, t => withStandby(t, async servers => {
    const wire = await tcpProxy(t, servers.primary.port)
    const { revocations, migrate } = nodeAt(t, wire.port)
    const many = tokens('many', 5000)
    await migrate()
    await revocations.revoke(...many)
    await servers.caughtUp()
    const watched = await watch(t, revocations)
    await watched.knows(many, 'before')

    // The primary goes far ahead in its transactions: the standby gives their numbers out again.
    servers.cutReplication()
    const lost = tokens('lost', 300)
    for (const mark of lost) await revocations.revoke(mark)
    await watched.knows(lost, 'what the standby does not have')
    await servers.failOver()
    wire.leadTo(servers.standby.port)
    wire.cut()
    wire.heal()

    const other = nodeAt(t, servers.standby.port).revocations
    const later = tokens('later', 150)
    for (const mark of later) await other.revoke(mark)
    await watched.knows([...many, ...lost, ...later], 'after the failover')
  }))

  t.test(`${name}: a primary that stays up beside the promoted standby is not taken for up to date`, t => withStandby(t, async servers => {
    const wire = await tcpProxy(t, servers.primary.port)
    const node = nodeAt(t, wire.port)
    await node.migrate()
    await servers.caughtUp()
    const watched = await watch(t, node.revocations)
    await watched.knows([], 'before')

    await servers.promote()
    wire.leadTo(servers.standby.port)
    const elsewhere = tokens('elsewhere', 20)
    await nodeAt(t, servers.standby.port).revocations.revoke(...elsewhere)
    await node.closeIdle()
    await watched.knows(elsewhere, 'the feed goes where the store goes')
    // The feed of Postgres has a connection of its own, which stays on the old primary until it notices.
    if (name === 'Postgres') {
      t.match(watched.errors.map(error => String((error as Error).cause)), [/does not have what the store has just written/])
    }
  }))
}
