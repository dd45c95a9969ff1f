/** An id as it stands in a URL: the id to look for, or why it is none. */
export type KratosId = { readonly id: string } | { readonly problem: string }

/** Reads an id of a URL. */
export type ReadKratosId = (text: string) => KratosId

/** Takes every id as it is: for hosts whose ids are no UUIDs. */
export const anyId: ReadKratosId = id => ({ id })

/**
 * Reads a UUID as Ory Kratos does, in every form that it knows (any case, without dashes, in braces, as a URN), and
 * answers with the form that Kratos stores.
 * @see https://www.rfc-editor.org/rfc/rfc9562#section-4
 */
export const uuid: ReadKratosId = text => {
  const quoted = JSON.stringify(text)
  if (![32, 34, 36, 38, 41, 45].includes(text.length)) return { problem: `uuid: incorrect UUID length ${Buffer.byteLength(text)} in string ${quoted}` }
  const [, hex] = forms.map(form => form.exec(text)).find(found => found !== null) ?? []
  if (hex === undefined) return { problem: `uuid: incorrect UUID format in string ${quoted}` }
  const digits = hex.replaceAll('-', '').toLowerCase()
  if (!/^[\da-f]{32}$/.test(digits)) return { problem: 'uuid: invalid UUID format' }
  return { id: digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-') }
}

const body = '([^-]{32}|[^-]{8}-[^-]{4}-[^-]{4}-[^-]{4}-[^-]{12})'
const forms = [new RegExp(`^${body}$`), new RegExp(`^\\{${body}\\}$`), new RegExp(`^urn:uuid:${body}$`)]
