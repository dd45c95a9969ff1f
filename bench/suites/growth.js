import { measure } from '../rounds.js'
import { emptyPlace } from '../subjects/clients.js'

const kinds = ['memory', 'sqlite', 'redis', 'postgres']

/** The parts of this suite. */
export const parts = ['sessions', 'subjects', 'tenants']

/** How the cost of a logout depends on how many sessions there are in the store, on how many the subject has, and on how many tenants there are. */
export async function growth (context) {
  const results = {}
  for (const part of context.parts ?? parts) results[part] = await curvesBy[part](context)
  return results
}

const curvesBy = {
  sessions: context => curves(context, {
    of: 'sessions',
    sizes: kind => sessionSizes(kind, context),
    subject: sessions => ({ file: 'kratos-library.js', parameters: { preload: sessions } })
  }),

  // The same number of sessions in each store, of fewer and fewer subjects.
  subjects: context => curves(context, {
    of: 'sessionsOfSubject',
    sizes: () => context.full ? [1, 100, 10_000, 100_000] : [1, 1000],
    subject: (each, most) => ({ file: 'kratos-library.js', parameters: { preload: most, subjects: most / each } })
  }),

  tenants: context => curves(context, {
    of: 'tenants',
    sizes: () => context.full ? [1, 1_000, 100_000] : [1, 1_000],
    subject: tenants => ({ file: 'tenant-library.js', parameters: { tenants } })
  })
}

/** About how many bytes of memory a session takes where all of them are in memory. */
const bytesOfSession = { memory: 600, redis: 1300 }

/** Every tenfold; the last one is as large as the memory of this run allows. A process of our own has a million at most. */
function sessionSizes (kind, { full, memory, log }) {
  if (!full) return [1_000, 100_000]
  const decades = [1_000, 10_000, 100_000, 1_000_000]
  if (kind === 'memory' || kind === 'sqlite') return decades
  const most = Math.min(10_000_000, roundedDown(memory / (bytesOfSession[kind] ?? 1) - 1_111_000))
  if (most < 10_000_000) log(`${kind}: with ${(memory / 1e9).toFixed(1)} GB, ${most} sessions instead of ten million`)
  return most > 1_000_000 ? [...decades, most] : decades
}

function roundedDown (number) {
  const power = 10 ** Math.floor(Math.log10(Math.max(number, 1)))
  return Math.floor(number / power) * power
}

async function curves (context, { of, sizes, subject }) {
  const { servers, full } = context
  const results = {}
  for (const kind of full ? kinds : ['memory']) {
    if (servers.storeAt(kind) === undefined) continue
    const counts = sizes(kind)
    context.log(`a logout with ${counts.join(', ')} ${of}, ${kind}`)
    const places = counts.map((count, place) => kind === 'redis' || kind === 'postgres'
      ? { ...servers.storeAt(kind), database: place + 1 }
      : servers.storeAt(kind))
    const subjects = counts.map((count, place) => {
      const { file, parameters } = subject(count, counts.at(-1))
      return { name: `${count}`, file, parameters: { ...parameters, store: places[place] }, against: `${counts[0]}` }
    })
    results[kind] = (await measure(subjects, turnsOf(kind, context)))
      .map(({ name, cpu, storeCpu, p50, ratios }) => ({ [of]: Number(name), cpu, storeCpu, p50, ratios }))
    for (const place of places) await emptyPlace(place)
  }
  return results
}

/** To fill a database takes minutes, and what is measured is the database: only memory is filled anew for each launch. */
function turnsOf (kind, { plan, log }) {
  return kind === 'memory' ? { ...plan, log } : { ...plan, launches: 1, rounds: plan.launches * plan.rounds, log }
}
