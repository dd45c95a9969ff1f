import { writeFileSync } from 'node:fs'
import t from 'tap'
import { optionsModule, optionsTableFrom, optionsTablesOf, withOptionsTables } from '../docs/options-table.ts'
import { blocksOf, pages } from '../docs/pages.ts'
import { typedSnippets, type Snippet } from '../type-check.ts'

// What the pages say of types, checked against `dist`: needs `npm run build`.
// `UPDATE_DOCS=1 npx tap --disable-coverage test/package/docs.ts` writes the options tables into the pages.

const all = pages()
const tables = all.flatMap(optionsTablesOf)
const blocks = all.filter(({ path }) => path === 'README.md' || path.startsWith('docs')).flatMap(blocksOf)
const programs = blocks.filter(({ language, runBy }) => (language === 'js' || language === 'ts') && runBy === undefined)

// What the blocks of a page may use without saying where it comes from, and what a host in TypeScript declares.
const given = `
import 'fastify'
declare global {
  const app: import('fastify').FastifyInstance
  const redis: import('ioredis').Redis
  const pool: import('pg').Pool
}
declare module 'fastify' { interface Session { user?: string, loggedInAt?: number } }
`

const snippets = programs.map(({ page, line, language, code }): Snippet => {
  return { origin: `${page}:${line}`, extension: language === 'js' ? 'js' : 'ts', code }
})
const tableTypes: Snippet = { origin: 'options tables', extension: 'ts', code: optionsModule(tables) }
const givenTypes: Snippet = { origin: 'given', extension: 'ts', code: given }
const typed = typedSnippets(t, [...snippets, tableTypes, givenTypes], { noImplicitAny: false })

t.test('every block of JavaScript and TypeScript in the README and in docs/ type-checks against the package', async t => {
  t.ok(programs.length >= 3)
  t.strictSame(typed.errors(), [])
})

t.test('every options table has exactly the options, defaults and doc comments of its type', async t => {
  const { checker } = typed
  const source = typed.sourceOf(tableTypes)
  const symbol = source && checker.getSymbolAtLocation(source)
  const tableOf = new Map(symbol === undefined
    ? []
    : checker.getExportsOfModule(symbol).map((one, index) => [
      `${tables[index]?.module} ${tables[index]?.type}`, optionsTableFrom(checker, checker.getDeclaredTypeOfSymbol(one))
    ]))
  for (const { page, module, type, text } of tables) {
    const declared = tableOf.get(`${module} ${type}`) ?? ''
    if (process.env.UPDATE_DOCS === undefined) t.equal(text, declared, `${page}: ${type}`)
  }
  if (process.env.UPDATE_DOCS === undefined) return
  for (const { path, text } of all) {
    writeFileSync(path, withOptionsTables(text, (module, type) => tableOf.get(`${module} ${type}`) ?? ''))
  }
})
