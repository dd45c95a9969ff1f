import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import ts from 'typescript'
import { declarationsInTable, optionsModule, optionsTableFrom, optionsTablesOf, withOptionsTables } from '../docs/options-table.ts'
import { blocksOf, pages } from '../docs/pages.ts'
import { typedSnippets, type Snippet } from '../type-check.ts'

// What the pages say of types, checked against `dist`: needs `npm run build`.
// `UPDATE_DOCS=1 npx tap --disable-coverage test/package/docs.ts` writes the options tables and the modules into the pages.

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
declare module 'fastify' {
  interface Session { user?: string, loggedInAt?: number, login?: { subject: string, loggedInAt: number } }
}
`

const snippets = programs.map(({ page, line, language, code }): Snippet => {
  return { origin: `${page}:${line}`, extension: language === 'js' ? 'js' : 'ts', code }
})
const { exports } = JSON.parse(readFileSync('package.json', 'utf8')) as { exports: Record<string, string> }
const modules = Object.keys(exports).filter(path => path !== './package.json').map(path => `fastify-logout${path.slice(1)}`)
const everything: Snippet = {
  origin: 'modules', extension: 'ts', code: modules.map((name, index) => `export * as m${index} from '${name}'`).join('\n')
}
const tableTypes: Snippet = { origin: 'options tables', extension: 'ts', code: optionsModule(tables) }
const givenTypes: Snippet = { origin: 'given', extension: 'ts', code: given }
const typed = typedSnippets(t, [...snippets, tableTypes, givenTypes, everything], { noImplicitAny: false })

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

/** The declarations of the members of a type, and of the objects and the further options inside of it. */
function declarationsOf (checker: ts.TypeChecker, type: ts.Type, found = new Set<ts.Declaration>()): Set<ts.Declaration> {
  for (const part of type.isUnion() ? type.types : [type]) {
    for (const member of checker.getPropertiesOfType(part)) {
      const [declaration] = member.declarations ?? []
      if (declaration === undefined || found.has(declaration)) continue
      if (declaration.getSourceFile().fileName.includes('/node_modules/typescript/')) continue
      found.add(declaration)
      declarationsOf(checker, checker.getNonNullableType(checker.getTypeOfSymbol(member)), found)
    }
  }
  return found
}

/** The options types of all public modules, with a module that exports each. */
function optionsTypes (checker: ts.TypeChecker): Array<{ name: string, type: ts.Type }> {
  const source = typed.sourceOf(everything)
  const symbol = source && checker.getSymbolAtLocation(source)
  const original = (one: ts.Symbol) => (one.flags & ts.SymbolFlags.Alias) === 0 ? one : checker.getAliasedSymbol(one)
  const byType = new Map<ts.Symbol, string>()
  for (const [index, module] of (symbol === undefined ? [] : checker.getExportsOfModule(symbol)).entries()) {
    for (const one of checker.getExportsOfModule(original(module))) {
      if (/Options$/.test(one.name) && !byType.has(original(one))) byType.set(original(one), `${one.name} of ${modules[index]}`)
    }
  }
  return [...byType].map(([one, name]) => ({ name, type: checker.getDeclaredTypeOfSymbol(one) }))
}

t.test('every option of every public options type has a row in an options table', async t => {
  const { checker } = typed
  const source = typed.sourceOf(tableTypes)
  const symbol = source && checker.getSymbolAtLocation(source)
  const shown = new Set<ts.Declaration>()
  for (const one of symbol === undefined ? [] : checker.getExportsOfModule(symbol)) {
    declarationsOf(checker, checker.getDeclaredTypeOfSymbol(one), shown)
  }
  const types = optionsTypes(checker)
  t.ok(types.length > 50, `there are ${types.length} types`)
  const missing = types.flatMap(({ name, type }) => checker.getPropertiesOfType(type)
    .filter(({ declarations: [declaration] = [] }) => declaration === undefined || !shown.has(declaration))
    .map(member => `${member.name} in ${name}`))
  t.strictSame(missing, [])
})

/** Objects of data among the types that an option takes, also in lists: no functions, and no contracts, which have functions. */
function dataTypesOf (checker: ts.TypeChecker, type: ts.Type): ts.Type[] {
  const parts = type.isUnion() ? type.types : [type]
  return parts.flatMap(part => {
    if (checker.isArrayType(part)) return checker.getTypeArguments(part as ts.TypeReference).flatMap(one => dataTypesOf(checker, one))
    const [declaration] = part.symbol?.declarations ?? []
    const isOurs = declaration !== undefined && /\/dist\/.*\.d\.ts$/.test(declaration.getSourceFile().fileName)
    if (!isOurs || part.getCallSignatures().length > 0 || part.getConstructSignatures().length > 0) return []
    const members = checker.getPropertiesOfType(part)
    const isContract = members.some(({ flags }) => (flags & ts.SymbolFlags.Method) !== 0)
    return isContract
      ? []
      : [part, ...members.flatMap(member => {
          return dataTypesOf(checker, checker.getNonNullableType(checker.getTypeOfSymbol(member)))
        })]
  })
}

t.test('every object that an option takes has its members in an options table', async t => {
  const { checker } = typed
  const source = typed.sourceOf(tableTypes)
  const symbol = source && checker.getSymbolAtLocation(source)
  const shown = new Set<ts.Declaration>()
  for (const one of symbol === undefined ? [] : checker.getExportsOfModule(symbol)) {
    for (const declaration of declarationsInTable(checker, checker.getDeclaredTypeOfSymbol(one))) shown.add(declaration)
  }
  const missing = new Set<string>()
  for (const { type } of optionsTypes(checker)) {
    const members = checker.getPropertiesOfType(type).map(member => checker.getNonNullableType(checker.getTypeOfSymbol(member)))
    for (const data of members.flatMap(member => dataTypesOf(checker, member))) {
      for (const member of checker.getPropertiesOfType(data)) {
        const [declaration] = member.declarations ?? []
        if (declaration !== undefined && !shown.has(declaration)) missing.add(`${data.symbol.name}.${member.name}`)
      }
    }
  }
  t.strictSame([...missing], [])
})

t.test('every row of an options table says what the option does, in whole sentences', async t => {
  for (const { page, type, text } of tables) {
    for (const [, name = '', what = ''] of text.matchAll(/^\| `([^`]+)` \| .*? \| (.*) \|$/gm)) {
      t.match(what, /[.!?:]$/, `${page}: ${type}.${name}`)
    }
  }
})

t.test('every options table is of a type that its module exports', async t => {
  t.ok(tables.length > 40)
  t.strictSame(typed.errors().filter(error => error.startsWith(tableTypes.origin)), [])
})

const modulesMarker = /^<!-- modules -->\n(?:\|.*\n)*/m

t.test('docs/modules.md lists exactly the modules of package.json, each with what it exports', async t => {
  const path = join('docs', 'modules.md')
  const page = readFileSync(path, 'utf8')
  const source = typed.sourceOf(everything)
  const symbol = source && typed.checker.getSymbolAtLocation(source)
  const rows = (symbol === undefined ? [] : typed.checker.getExportsOfModule(symbol)).map((module, index) => {
    const names = typed.checker.getExportsOfModule(typed.checker.getAliasedSymbol(module))
      .map(one => (one.flags & ts.SymbolFlags.Alias) === 0 ? one : typed.checker.getAliasedSymbol(one))
      .filter(({ flags }) => (flags & ts.SymbolFlags.Value) !== 0).map(({ name }) => `\`${name}\``).sort()
    return `| \`${modules[index]}\` | ${names.join(', ')} |\n`
  })
  const text = ['<!-- modules -->\n', '| import from | functions, plugins and rules |\n', '| --- | --- |\n', ...rows].join('')
  if (process.env.UPDATE_DOCS === undefined) t.equal(modulesMarker.exec(page)?.[0], text)
  else writeFileSync(path, page.replace(modulesMarker, text))
})
