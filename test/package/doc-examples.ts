import { readFileSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import t from 'tap'
import ts from 'typescript'
import { typedSnippets, type Snippet } from '../type-check.ts'

const options: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2023,
  module: ts.ModuleKind.NodeNext,
  types: [],
  noLib: true, // It is not needed for names and comments.
  allowImportingTsExtensions: true,
  noEmit: true
}

const commentLine = /^[ \t]*\* ?/gm

/** The text of each `@example` of a source, without the stars of the comment. */
function examplesOf (source: string): string[] {
  return [...source.matchAll(/\/\*\*.*?\*\//gs)].flatMap(([comment]) => {
    const [, ...examples] = comment.slice(3, -2).replace(commentLine, '').split(/^@example\b/m)
    return examples.map(example => example.split(/^@\w/m, 1)[0] ?? '')
  })
}

/** The code fences of an example. */
function snippetsOf (origin: string, example: string): Snippet[] {
  return [...example.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code = '']) => ({ origin, extension: 'ts', code }))
}

/** The modules of `package.json` as files of `lib`. */
function publicModules (): string[] {
  const { exports } = JSON.parse(readFileSync('package.json', 'utf8')) as { exports: Record<string, string> }
  return Object.values(exports).filter(file => file.endsWith('.js'))
    .map(file => file.replace('./dist/', 'lib/').replace(/\.js$/, '.ts'))
}

/**
 * The names that need an example and have none: of each public function, plugin, class and list of rules, and of each
 * contract at the root of `lib`, which is an interface with methods or the type of a function.
 */
function withoutExample (modules: readonly string[], program: ts.Program): string[] {
  const checker = program.getTypeChecker()
  const needsExample = (symbol: ts.Symbol): boolean => {
    const [declaration] = symbol.declarations ?? []
    if (declaration === undefined) return false
    if ((symbol.flags & ts.SymbolFlags.Value) !== 0) {
      const type = checker.getTypeOfSymbol(symbol)
      return (type.flags & ts.TypeFlags.StringLike) === 0
    }
    const isContract = /\/lib\/[^/]+\.ts$/.test(declaration.getSourceFile().fileName)
    if (ts.isInterfaceDeclaration(declaration)) return isContract && declaration.members.some(ts.isMethodSignature)
    return isContract && ts.isTypeAliasDeclaration(declaration) && ts.isFunctionTypeNode(declaration.type)
  }

  const missing = modules.flatMap(name => {
    const file = program.getSourceFile(name)
    const module = file && checker.getSymbolAtLocation(file)
    if (module === undefined) return [`${name} is not a module`]
    return checker.getExportsOfModule(module)
      .map(symbol => (symbol.flags & ts.SymbolFlags.Alias) === 0 ? symbol : checker.getAliasedSymbol(symbol))
      .filter(symbol => needsExample(symbol) && !symbol.getJsDocTags().some(tag => tag.name === 'example'))
      .map(symbol => symbol.name)
  })
  return [...new Set(missing)]
}

/** An example with a mistake, which must be found among the others. */
const planted = `
  /**
   * Text.
   *
   * @example
   * \`\`\`ts
   * import { tokenDigest } from 'fastify-logout'
   *
   * tokenDigest(5)
   * \`\`\`
   * @see elsewhere
   */`

t.test('every @example in a doc comment of lib type-checks against the package, and a wrong one is detected', async t => {
  const files = (await readdir('lib', { recursive: true })).filter(name => name.endsWith('.ts')).sort()
  const sources = await Promise.all(files.map(async name => [`lib/${name}`, await readFile(`lib/${name}`, 'utf8')] as const))
  const snippets: Snippet[] = []
  for (const [name, source] of [...sources, ['planted', planted] as const]) {
    for (const example of examplesOf(source)) {
      const found = snippetsOf(name, example)
      t.ok(found.length > 0, `each @example of ${name} has a fence of ts`)
      snippets.push(...found)
    }
  }
  t.ok(snippets.length > 40, `there are ${snippets.length} of them`)
  t.equal(snippets.at(-1)?.code, "import { tokenDigest } from 'fastify-logout'\n\ntokenDigest(5)\n")
  const errors = typedSnippets(t, snippets).errors()
  t.match(errors, [/^planted: Argument of type 'number' is not assignable.*: 5\)$/])
  t.equal(errors.length, 1)
})

t.test('every public function, plugin, class and list of rules, and every contract, has an @example', async t => {
  const modules = publicModules()
  t.strictSame(withoutExample(modules, ts.createProgram(modules, options)), [])
})

t.test('a missing @example is detected', async t => {
  const directory = t.testdir({
    lib: {
      'contract.ts': `
        export interface Plain { readonly a: string }
        export interface Store { get (): string }
        export type Verify = (token: string) => string
        export type Names = 'a' | 'b'
        export const table = 'a table'
        /**
         * @example
         * const shown = true
         */
        export function shown () {}
        export function hidden () {}
        export const rules = [() => {}]`,
      inner: { 'part.ts': 'export interface Inner { get (): string }' }
    }
  })
  const modules = ['contract', 'inner/part'].map(name => `${directory}/lib/${name}.ts`)
  t.strictSame(withoutExample(modules, ts.createProgram(modules, options)), ['hidden', 'Store', 'Verify', 'rules'])
})
