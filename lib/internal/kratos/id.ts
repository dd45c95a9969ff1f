/** The ids of a host: UUIDs in every form that Ory Kratos accepts, or any text. */
export type KratosIdKind = 'uuid' | 'any'

/** An id of a URL: the spellings to look for, in this order, or the reason why it is malformed. */
export type KratosId = { readonly spellings: readonly string[] } | { readonly problem: string }

/** How the ids of a host are read and compared. */
export interface KratosIds {
  /** Reads an id of a URL. */
  read (text: string): KratosId
  /** Whether two texts are the same id. */
  isSame (one: string, other: string): boolean
}

/** Returns how ids of this kind are read and compared. */
export function kratosIds (kind: KratosIdKind): KratosIds {
  return kind === 'uuid' ? uuids : texts
}

const texts: KratosIds = {
  read: text => text === '' ? { problem: 'the id is empty' } : { spellings: [text] },
  isSame: (one, other) => one === other
}

/**
 * Reads a UUID in every form that Ory Kratos accepts: any case, without dashes, in braces, as a URN. It is looked for in the
 * given form, in which a host may store and list it, and in the form that Kratos stores. Braces and URNs come last, because
 * a database column of type UUID may refuse them.
 * @see https://www.rfc-editor.org/rfc/rfc9562#section-4
 */
const uuids: KratosIds = {
  read: text => {
    const digits = digitsOf(text)
    if ('problem' in digits) return digits
    const spellings = [text, canonical(digits.hex)]
    return { spellings: [...new Set(text.length <= 36 && !text.startsWith('{') ? spellings : spellings.reverse())] }
  },
  isSame: (one, other) => {
    const [first, second] = [digitsOf(one), digitsOf(other)]
    return 'hex' in first && 'hex' in second ? first.hex === second.hex : one === other
  }
}

const body = '([^-]{32}|[^-]{8}-[^-]{4}-[^-]{4}-[^-]{4}-[^-]{12})'
const forms = [new RegExp(`^${body}$`), new RegExp(`^\\{${body}\\}$`), new RegExp(`^urn:uuid:${body}$`)]

/** The 32 digits of a UUID in lower case, or the problem in the words of Kratos. */
function digitsOf (text: string): { readonly hex: string } | { readonly problem: string } {
  const quoted = JSON.stringify(text)
  if (![32, 34, 36, 38, 41, 45].includes(text.length)) {
    return { problem: `uuid: incorrect UUID length ${Buffer.byteLength(text)} in string ${quoted}` }
  }
  const [, given] = forms.map(form => form.exec(text)).find(found => found !== null) ?? []
  if (given === undefined) return { problem: `uuid: incorrect UUID format in string ${quoted}` }
  const hex = given.replaceAll('-', '').toLowerCase()
  return /^[\da-f]{32}$/.test(hex) ? { hex } : { problem: 'uuid: invalid UUID format' }
}

function canonical (hex: string): string {
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}
