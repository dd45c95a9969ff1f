import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'

const text = readFileSync('CONTRIBUTING.md', 'utf8')
const rows = text.split('\n').filter(line => line.startsWith('| `'))

/** Commands, module names and code are no paths. */
const isPath = (span: string) => /^[\w.<>*/-]+$/.test(span) && (span.includes('/') || /\.(?:ts|js|md|txt)$/.test(span)) &&
  !span.startsWith('fastify-logout') && span !== 'docs/api/' // It is generated.

/** The part of a path before the first placeholder, such as `lib/flows/` of `lib/flows/<vendor>.ts`. */
const known = (path: string) => path.replace(/[^/]*[<*].*$/, '')

/** The paths of a text. A path is relative to the root, to `lib`, or to the folder of the path before it. */
function pathsOf (part: string): Array<{ path: string, candidates: string[] }> {
  let folder = '.'
  return [...part.matchAll(/`([^`]+)`/g)].map(([, span = '']) => span).filter(isPath).map(path => {
    const candidates = ['.', 'lib', folder].map(base => join(base, known(path)))
    const found = candidates.find(candidate => existsSync(candidate))
    if (found !== undefined) folder = dirname(found.replace(/\/$/, ''))
    return { path, candidates }
  })
}

const missing = (part: string) => part.split('\n').flatMap(pathsOf)
  .filter(({ candidates }) => !candidates.some(candidate => existsSync(candidate))).map(({ path }) => path)

t.test('every path that CONTRIBUTING.md names exists', async t => {
  t.ok(text.split('\n').flatMap(pathsOf).length > 40)
  t.strictSame(missing(text), [])
  const wrong = missing('`lib/flows/`, `session-stores/`, `nothing/` and `lib/nothing.ts`')
  t.strictSame(wrong, ['nothing/', 'lib/nothing.ts'], 'a wrong path is found')
})

t.test('the table of folders lists every folder of lib', async t => {
  const listed = rows.flatMap(pathsOf).flatMap(({ candidates }) => candidates).map(path => path.replace(/\/$/, ''))
  const folders = ['lib', 'lib/internal'].flatMap(parent => readdirSync(parent, { withFileTypes: true })
    .filter(entry => entry.isDirectory() && entry.name !== 'internal').map(({ name }) => join(parent, name)))
  t.strictSame(folders.filter(folder => !listed.includes(folder)), [])
})
