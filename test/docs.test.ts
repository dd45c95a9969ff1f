import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import t from 'tap'
import { anchorsOf, blocksOf, linksOf, pages } from './docs/pages.ts'

// The types in the pages, and their options tables, are checked by test/package/docs.ts.

const all = pages()

t.test('a block that is only run, not type-checked, names a test that reads its page', async t => {
  for (const { page, line, runBy } of all.flatMap(blocksOf)) {
    if (runBy !== undefined) t.ok(readFileSync(runBy, 'utf8').includes(page), `${page}:${line}`)
  }
})

t.test('every link of a page leads to a file and a heading that exist', async t => {
  const anchors = new Map(all.map(page => [page.path, anchorsOf(page)]))
  for (const page of all) {
    for (const link of linksOf(page)) {
      if (/^(https?|mailto):/.test(link)) continue
      const [target = '', anchor] = link.split('#')
      const path = target === '' ? page.path : normalize(join(dirname(page.path), target))
      if (path.startsWith(join('docs', 'api'))) continue // made by TypeDoc
      t.ok(anchor === undefined ? exists(path) : anchors.get(path)?.has(anchor), `${page.path}: ${link}`)
    }
  }
})

function exists (path: string): boolean {
  try {
    readFileSync(path)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EISDIR'
  }
}

t.test('no options table has more than ten options beside the members of groups', async t => {
  const tables = all.flatMap(({ path, text }) => {
    const found = text.matchAll(/<!-- options: (\w+Options(?:<\w+>)?) from .*-->\n((?:\|.*\n)+)/g)
    return Array.from(found, ([, type, rows = '']) => ({ path, type, rows }))
  })
  t.ok(tables.length >= 40)
  for (const { path, type, rows } of tables) {
    const flat = [...rows.matchAll(/^\| `([^`]+)`/gm)].filter(([, name = '']) => !name.includes('.'))
    t.ok(flat.length > 0 && flat.length <= 10, `${path}: ${type} has ${flat.length}`)
  }
})

t.test('docs/write-your-own.md lists every contract that has rules, with its methods', async t => {
  const { text = '' } = all.find(({ path }) => path === join('docs', 'write-your-own.md')) ?? {}
  const rows = [...text.matchAll(/^\| `(\w+)` \| (.*) \| `([\w-]+)` \|$/gm)]
  const contracts = readdirSync('lib').filter(name => name.endsWith('.ts')).map(name => readFileSync(join('lib', name), 'utf8')).join('\n')
  t.strictSame(rows.map(([, , , rules]) => `${rules}.ts`).sort(), readdirSync('lib/conformance').sort())
  for (const [, contract = '', listed = ''] of rows) {
    const [, body = ''] = new RegExp(`^export interface ${contract}\\b[^\n]*{$(.*?)^}$`, 'ms').exec(contracts) ?? []
    const methods = [...body.matchAll(/^ {2}(\w+)\?? \(/gm)].map(([, name]) => name)
    t.strictSame([...listed.matchAll(/`([a-z]\w+)`/g)].map(([, name]) => name).sort(), methods.sort(), contract)
  }
})

/** The rows of a table of errors: status and name. */
function errorRows (path: string): string[] {
  const { text = '' } = all.find(page => page.path === path) ?? {}
  return [...text.matchAll(/^\| ([45]\d\d) \| `([^`]+)` \|/gm)].map(([, status, name]) => `${status} ${name}`).sort()
}

t.test('the tables of errors have exactly the errors of the flows', async t => {
  const errors = (path: string, pattern: RegExp) => {
    return [...readFileSync(path, 'utf8').matchAll(pattern)].map(({ groups = {} }) => `${groups['status']} ${groups['name']}`)
  }
  const session = errors('lib/internal/session-logout/error.ts', /^ {2}(?<name>LOGOUT_\w+): \[(?<status>\d+),/gm)
  t.strictSame(errorRows('docs/flows/session.md'), session.sort())

  const denied = /const denied = '(.*)'/.exec(readFileSync('lib/flows/signinghub.ts', 'utf8'))?.[1]
  const signingHub = errors('lib/flows/signinghub.ts', /refusal\((?<status>\d+), '?(?<name>[^',)]+)/g)
    .map(error => error.replace(/\bdenied$/, String(denied)))
  t.strictSame(errorRows('docs/flows/signinghub.md'), [...new Set(signingHub)].sort())

  const own = errors('lib/flows/tenant-status.ts', /status: (?<status>\d+),\s+code: '(?<name>\w+)'/g)
  const generic = errors('lib/internal/tenant-status/envelope.ts', /^ {2}(?<status>403|429|500): \['(?<name>\w+)'/gm)
  const refusals = errors('lib/internal/tenant-status/wire.ts', /(?<status>)\b(?:tenant|user) = '(?<name>INVALID_\w+)'/g)
    .map(error => `401${error}`)
  t.strictSame(errorRows('docs/flows/tenant-status.md'), [...own, ...generic, ...refusals].sort())
})
