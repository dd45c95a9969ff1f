import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import t from 'tap'
import ts from 'typescript'
import { faultTests, type FaultTests, type NamedTest } from './docs/fault-tests.ts'

const page = readFileSync('docs/faults.md', 'utf8')

interface FaultTable {
  readonly columns: readonly string[]
  /** The cells of each fault, by their columns. */
  readonly rows: ReadonlyMap<string, ReadonlyMap<string, string>>
}

function faultTable (text: string): FaultTable {
  const [, rows = ''] = /^<!-- faults -->\n((?:\|.*\n)+)/m.exec(text) ?? []
  const [[, ...columns] = [], , ...faults] = rows.trimEnd().split('\n').map(row => row.slice(2, -2).split(' | '))
  return {
    columns,
    rows: new Map(faults.map(([fault = '', ...cells]) => [fault, new Map(columns.map((column, index) => [column, cells[index] ?? '']))]))
  }
}

const titlesOfFiles = new Map<string, readonly RegExp[]>()

/** What the titles of the tests in a file match, and of those in the files of tests that it imports. */
function titlesIn (path: string): readonly RegExp[] {
  const known = titlesOfFiles.get(path)
  if (known !== undefined) return known
  titlesOfFiles.set(path, [])
  const source = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true)
  const titles: RegExp[] = []
  const visit = (node: ts.Node): void => {
    const title = titleOf(node)
    if (title !== undefined) titles.push(title)
    const imported = importOf(node, path)
    if (imported !== undefined) titles.push(...titlesIn(imported))
    ts.forEachChild(node, visit)
  }
  visit(source)
  titlesOfFiles.set(path, titles)
  return titles
}

/** What the title of a test matches, where a call of `t.test(title, ...)` begins. A value in a template may be any text. */
function titleOf (node: ts.Node): RegExp | undefined {
  if (!ts.isCallExpression(node) || !ts.isPropertyAccessExpression(node.expression)) return undefined
  if (node.expression.name.text !== 'test') return undefined
  const [title] = node.arguments
  if (title === undefined) return undefined
  if (ts.isStringLiteralLike(title)) return new RegExp(`^${literally(title.text)}$`)
  // A list of names, such as those of libraries.
  if (ts.isIdentifier(title)) return /^[\w:-]+$/
  if (!ts.isTemplateExpression(title)) return undefined
  const rest = title.templateSpans.map(({ literal }) => `.+${literally(literal.text)}`)
  return new RegExp(`^${literally(title.head.text)}${rest.join('')}$`)
}

function literally (text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
}

/** The file of tests that is imported. */
function importOf (node: ts.Node, from: string): string | undefined {
  if (!ts.isImportDeclaration(node) || !ts.isStringLiteral(node.moduleSpecifier)) return undefined
  if (!node.moduleSpecifier.text.startsWith('.')) return undefined
  const path = normalize(join(dirname(from), node.moduleSpecifier.text))
  return path.startsWith('test') ? path : undefined
}

/** What a test of a column has in its file's name or in a title. */
const nameOfColumn: Readonly<Record<string, RegExp>> = {
  memory: /memory/i,
  SQLite: /sqlite/i,
  'Redis, Valkey': /redis/i,
  PostgreSQL: /postgres/i,
  'MySQL, MariaDB': /mysql|mariadb/i
}

/** What is wrong with the tests of a cell. */
function problemsOfTests (column: string, tests: readonly NamedTest[]): string[] {
  return tests.flatMap(([path, ...titles]) => {
    if (!path.endsWith('.test.ts') || !existsSync(path)) return [`there is no file of tests ${path}`]
    const found = titlesIn(path)
    const missing = titles.filter(title => !found.some(pattern => pattern.test(title))).map(title => `${path} has no test: ${title}`)
    const isOfColumn = nameOfColumn[column]?.test([path, ...titles].join())
    return titles.length === 0 ? [`${path}: no title`] : [...missing, ...isOfColumn === true ? [] : [`${path} is no test of ${column}`]]
  })
}

/** What is wrong with a table of faults and its tests. */
function problemsOf ({ columns, rows }: FaultTable, tests: FaultTests): string[] {
  const problems: string[] = []
  for (const fault of Object.keys(tests)) if (!rows.has(fault)) problems.push(`there is no row: ${fault}`)
  for (const [fault, cells] of rows) {
    const named = tests[fault] ?? {}
    for (const column of Object.keys(named)) if (!columns.includes(column)) problems.push(`${fault}: there is no column ${column}`)
    for (const [column, cell] of cells) {
      const ofCell = named[column] ?? []
      const cannotHappen = /^- \(.+\)$/.test(cell)
      if (cell === '' || (cell.startsWith('-') && !cannotHappen)) problems.push(`${fault}, ${column}: neither a promise nor a reason`)
      if (cannotHappen && ofCell.length > 0) problems.push(`${fault}, ${column}: a test of what cannot happen`)
      if (!cannotHappen && ofCell.length === 0) problems.push(`${fault}, ${column}: no test`)
      problems.push(...problemsOfTests(column, ofCell).map(problem => `${fault}, ${column}: ${problem}`))
    }
  }
  return problems
}

t.test('every promise in the table of faults is shown by a test that exists', async t => {
  const table = faultTable(page)
  t.strictSame(table.columns, Object.keys(nameOfColumn))
  t.ok(table.rows.size >= 14)
  t.strictSame(problemsOf(table, faultTests), [])
})

t.test('a cell without a test, a test without a cell and a title that no test has are found', async t => {
  const sample = (cells: string) => faultTable(
    `<!-- faults -->\n| fault | memory | SQLite |\n| --- | --- | --- |\n| fire | ${cells} |\n`
  )
  const path = 'test/faults/session-sqlite.test.ts'
  const title = 'a file locked by a frozen process: 500, and 204 when that process is gone'
  const good = { fire: { SQLite: [[path, 'node:sqlite', title] as const] } }
  t.strictSame(problemsOf(sample('- (no fire) | 5xx'), good), [])
  t.strictSame(problemsOf(sample('5xx | 5xx'), good), ['fire, memory: no test'])
  t.strictSame(problemsOf(sample('- | 5xx'), good), ['fire, memory: neither a promise nor a reason', 'fire, memory: no test'])
  t.strictSame(problemsOf(sample('- (no fire) | - (no fire)'), good), ['fire, SQLite: a test of what cannot happen'])
  t.strictSame(problemsOf(sample('- (no fire) | 5xx'), { ...good, flood: {} }), ['there is no row: flood'])
  t.strictSame(problemsOf(sample('- (no fire) | 5xx'), { fire: { ...good.fire, Oracle: [] } }), ['fire: there is no column Oracle'])
  const problemOf = (...test: NamedTest) => problemsOf(sample('- (no fire) | 5xx'), { fire: { SQLite: [test] } })
  t.strictSame(problemOf(path, `${title}, or not`), [`fire, SQLite: ${path} has no test: ${title}, or not`])
  t.strictSame(problemOf('test/faults/nowhere.test.ts', title), ['fire, SQLite: there is no file of tests test/faults/nowhere.test.ts'])
  t.strictSame(problemOf(path), [`fire, SQLite: ${path}: no title`])
  const ofRedis = 'after a replica of Redis that was behind is promoted, the stores are as they were earlier'
  t.match(problemOf('test/faults/redis-behind.test.ts', ofRedis), [/is no test of SQLite/])
})

t.test('titles from templates, and those of functions in other files, are read', async t => {
  const matches = (path: string, title: string) => titlesIn(path).some(pattern => pattern.test(title))
  const path = 'test/faults/sql-failover.test.ts'
  t.ok(matches(path, 'Postgres: after a standby that was behind is promoted, the stores are as they were earlier'))
  t.notOk(matches(path, 'Postgres: after a standby that was behind is promoted'))
  t.ok(matches('test/faults/session-mysql.test.ts', 'frozen: 500 at the timeout, and a retry after the thaw succeeds'))
})
