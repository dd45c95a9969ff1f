import { measure } from '../rounds.js'

const kinds = ['memory', 'sqlite', 'redis', 'postgres', 'mysql']

/** Each flow beside a handler written by hand on the same store, and the floor under both. */
export async function flows ({ servers, plan, full, log }) {
  const results = {}
  for (const kind of kinds) {
    if (servers.storeAt(kind) === undefined) {
      log(`no ${kind} here: left out`)
      continue
    }
    for (const { title, subjects } of groups(kind, full)) {
      log(title)
      const stored = subjects.map(subject => ({ ...subject, parameters: { ...subject.parameters, store: servers.storeAt(kind) } }))
      results[title] = { kind, results: await measure(stored, { ...plan, log }) }
    }
  }
  return results
}

function groups (kind, full) {
  return [
    group('Kratos-style logout', kind, [...kind === 'memory' ? [bare] : [], ...beside('kratos', full || kind === 'memory'), ...full && kind !== 'memory' ? [onStore('kratos')] : [], promised]),
    ...kind === 'memory' ? [group('SigningHub-style logout', kind, beside('signinghub', full))] : [],
    ...kind === 'memory' || full ? [group('Tenant-status-style logout', kind, [...beside('tenant', full), ...full && kind !== 'memory' ? [onStore('tenant')] : []])] : []
  ]
}

function group (title, kind, subjects) {
  return { title: `${title}, ${kind}`, subjects }
}

const bare = { name: 'bare Fastify', file: 'bare-fastify.js', against: 'by hand' }

function onStore (flow) {
  return { name: 'by hand, on the library\'s store', file: `${flow}-by-hand.js`, parameters: { table: 'library' }, against: 'by hand' }
}

/** The floor under the library: the same handler with what the library promises and the one above does not. */
const promised = { name: 'by hand, with the same promises', file: 'kratos-by-hand.js', parameters: { promises: true }, against: 'by hand' }

function beside (flow, withControl) {
  return [
    { name: 'by hand', file: `${flow}-by-hand.js` },
    ...withControl ? [{ name: 'by hand, again', file: `${flow}-by-hand.js`, against: 'by hand' }] : [],
    { name: 'fastify-logout', file: `${flow}-library.js`, against: 'by hand' }
  ]
}
