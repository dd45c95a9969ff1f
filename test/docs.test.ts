import { readFileSync } from 'node:fs'
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
