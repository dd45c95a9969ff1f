import { join } from 'node:path'
import type { Test } from 'tap'
import ts from 'typescript'

/** Code from the documentation, and the file extension that its language has. */
export interface Snippet {
  /** Where it stands, for messages. */
  readonly origin: string
  readonly extension: 'js' | 'ts'
  readonly code: string
}

const options: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2023,
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  types: ['node'],
  allowJs: true,
  checkJs: true,
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  skipLibCheck: true,
  noEmit: true
}

/** Snippets as modules of a project that has installed the package, as it is built in `dist`. */
export interface TypedSnippets {
  readonly checker: ts.TypeChecker
  /** One line for each error. */
  errors (): string[]
  sourceOf (snippet: Snippet): ts.SourceFile | undefined
}

export function typedSnippets (t: Test, snippets: readonly Snippet[], strictness: ts.CompilerOptions = {}): TypedSnippets {
  const names = snippets.map(({ extension }, index) => `snippet-${index}.${extension}`)
  const directory = t.testdir(Object.fromEntries(snippets.map(({ code }, index) => [names[index], `${code}\nexport {}\n`])))
  const program = ts.createProgram(names.map(name => join(directory, name)), { ...options, ...strictness })
  return {
    checker: program.getTypeChecker(),
    errors: () => ts.getPreEmitDiagnostics(program).map(({ file, start = 0, messageText }) => {
      const snippet = snippets[names.indexOf(file?.fileName.split('/').at(-1) ?? '')]
      const line = file?.text.slice(start).split('\n', 1)[0]
      return `${snippet?.origin}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}: ${line}`
    }),
    sourceOf: snippet => program.getSourceFile(join(directory, names[snippets.indexOf(snippet)] ?? ''))
  }
}
