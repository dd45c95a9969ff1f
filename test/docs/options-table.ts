import ts from 'typescript'

/** An options table in a page: the marker above it, and what stands under it. */
export interface OptionsTable {
  readonly page: string
  readonly module: string
  readonly type: string
  readonly text: string
}

const marker = /^<!-- options: (\w+(?:<\w+>)?) from (\S+) -->\n((?:\|.*\n)*)/gm

export function optionsTablesOf ({ path, text }: { path: string, text: string }): OptionsTable[] {
  return [...text.matchAll(marker)].map(([, type = '', module = '', table = '']) => ({ page: path, module, type, text: table }))
}

/** The page with each of its options tables as the types have it. */
export function withOptionsTables (text: string, tableOf: (module: string, type: string) => string): string {
  return text.replace(marker, (_all, type: string, module: string) => `<!-- options: ${type} from ${module} -->\n${tableOf(module, type)}`)
}

/** A module that has the types of all tables as members of one exported type, for {@link optionsTableFrom}. */
export function optionsModule (tables: readonly OptionsTable[]): string {
  return tables.map(({ module, type }, index) => `export type Table${index} = import('${module}').${type}\n`).join('')
}

/** The table of an options type: a row for each member, with its default and its doc comment. */
export function optionsTableFrom (checker: ts.TypeChecker, type: ts.Type): string {
  return ['| option | default | what it does |', '| --- | --- | --- |', ...rowsOf(checker, type, '')].map(line => `${line}\n`).join('')
}

function rowsOf (checker: ts.TypeChecker, type: ts.Type, prefix: string): string[] {
  return membersOf(checker, type).flatMap(member => {
    const { what, preset } = docOf(checker, member)
    const required = (member.flags & ts.SymbolFlags.Optional) === 0
    const shown = preset === undefined ? (required ? '**required**' : '') : inCode(preset)
    const list = isList(checker, member) ? '[]' : ''
    return [`| \`${prefix}${member.name}\` | ${shown} | ${what} |`, ...nested(checker, member, `${prefix}${member.name}${list}.`)]
  })
}

/** The members of all members of a union, each once. */
function membersOf (checker: ts.TypeChecker, type: ts.Type): ts.Symbol[] {
  const parts = type.isUnion() ? type.types : [type]
  const members = parts.flatMap(part => checker.getPropertiesOfType(part))
  return [...new Map(members.map(member => [member.name, member])).values()]
}

/** An object written out in the options, also in a list, or an interface of theirs whose name ends in `Options`, has rows of its own. */
function nested (checker: ts.TypeChecker, member: ts.Symbol, prefix: string): string[] {
  return nestedTypes(checker, member).flatMap(part => rowsOf(checker, part, prefix))
}

function isList (checker: ts.TypeChecker, member: ts.Symbol): boolean {
  return checker.isArrayType(checker.getNonNullableType(checker.getTypeOfSymbol(member)))
}

function nestedTypes (checker: ts.TypeChecker, member: ts.Symbol): ts.Type[] {
  const given = checker.getNonNullableType(checker.getTypeOfSymbol(member))
  const [type = given] = isList(checker, member) ? checker.getTypeArguments(given as ts.TypeReference) : [given]
  return (type.isUnion() ? type.types : [type]).filter(part => {
    const name = part.aliasSymbol?.name ?? part.symbol?.name ?? ''
    return (part.flags & ts.TypeFlags.Object) !== 0 && part.getCallSignatures().length === 0 && /^(__type|\w+Options)$/.test(name)
  })
}

/** The declarations of the members that have a row in the table of a type. */
export function declarationsInTable (checker: ts.TypeChecker, type: ts.Type): ts.Declaration[] {
  const parts = type.isUnion() ? type.types : [type]
  return parts.flatMap(part => checker.getPropertiesOfType(part)).flatMap(member => [
    ...member.declarations ?? [], ...nestedTypes(checker, member).flatMap(part => declarationsInTable(checker, part))
  ])
}

function docOf (checker: ts.TypeChecker, member: ts.Symbol): { what: string, preset: string | undefined } {
  const preset = member.getJsDocTags(checker).find(({ name }) => name === 'default')
  const what = plain(member.getDocumentationComment(checker))
  return { what, preset: preset && plain(preset.text ?? []) }
}

function plain (parts: readonly ts.SymbolDisplayPart[]): string {
  return ts.displayPartsToString([...parts])
    .replace(/\{@link (\S+?)\}/g, '`$1`')
    .replace(/\s+/g, ' ')
    .replaceAll('|', '\\|')
    .trim()
}

function inCode (preset: string): string {
  return /^(['[{].*|[\w.]+)$/.test(preset) ? `\`${preset}\`` : preset
}
