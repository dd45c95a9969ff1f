import { formDecoded, type Form } from '../http/form.ts'
import { readUnchecked } from '../jose/jwt.ts'

/** A signed proof in place of a secret, as RFC 7521 has it. Nobody has checked it yet. */
export interface ClientAssertion {
  /** `client_assertion_type`, for example `urn:ietf:params:oauth:client-assertion-type:jwt-bearer`. */
  readonly type: string
  readonly value: string
}

/** Which client a request says that it comes from, and its proof. Nobody has checked it yet. */
export interface ClientCredentials {
  readonly id: string
  /** A non-empty string. A client without a secret or an assertion is a public one. */
  readonly secret?: string | undefined
  readonly assertion?: ClientAssertion | undefined
}

/**
 * Why there are no credentials. `unnamed`: the request names no client. `several`: it has two proofs. `contradiction`: it names two
 * clients. `incomplete`: it has half of an assertion.
 */
export type CredentialsProblem = 'unnamed' | 'several' | 'contradiction' | 'incomplete'

/** Whether a request authenticates by HTTP Basic, well or badly. */
export function usesBasic (authorization: string | undefined): boolean {
  return /^basic(?: |$)/i.test(authorization ?? '')
}

/**
 * Reads the credentials of a client from HTTP Basic or from the form. Parameters without a value count as left out. Other schemes
 * of the header are ignored: they are the host's.
 *
 * @see https://www.rfc-editor.org/rfc/rfc6749#section-2.3
 * @see https://www.rfc-editor.org/rfc/rfc7521#section-4.2 for assertions
 */
export function readClientCredentials (
  authorization: string | undefined, form: Exclude<Form, string>
): ClientCredentials | { readonly problem: CredentialsProblem } {
  const basic = usesBasic(authorization) ? basicOf(String(authorization)) : undefined
  const valueOf = (name: string) => form.get(name)?.[0] || undefined
  const [named, secret, type, value] = ['client_id', 'client_secret', 'client_assertion_type', 'client_assertion'].map(valueOf)

  if ([basic, secret, type ?? value].filter(proof => proof !== undefined).length > 1) return { problem: 'several' }
  if (basic === 'unreadable') return { problem: 'unnamed' }
  if (basic !== undefined) return named === undefined || named === basic.id ? basic : { problem: 'contradiction' }
  if (type !== undefined || value !== undefined) {
    if (type === undefined || value === undefined) return { problem: 'incomplete' }
    const id = named ?? subjectOf(value)
    return id === undefined ? { problem: 'unnamed' } : { id, assertion: { type, value } }
  }
  if (named === undefined) return { problem: 'unnamed' }
  return { id: named, ...(secret !== undefined && { secret }) }
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Id and secret are encoded as in a form, then joined by a colon. */
function basicOf (authorization: string): ClientCredentials | 'unreadable' {
  const [, encoded = ''] = /^basic +([a-z\d+/]+={0,2})\s*$/i.exec(authorization) ?? []
  try {
    const [, id = '', secret = ''] = (/^([^:]+):([^]*)$/.exec(strictUtf8.decode(Buffer.from(encoded, 'base64'))) ?? []).map(formDecoded)
    if (id === '' || hasControls(id) || hasControls(secret)) return 'unreadable'
    return { id, ...(secret !== '' && { secret }) }
  } catch {
    return 'unreadable'
  }
}

/** Control characters are in no id, secret or token of OAuth. Databases refuse some of them. */
export function hasControls (text: string): boolean {
  return /\p{Cc}/u.test(text)
}

/** The `sub` of a JWT names the client. */
function subjectOf (assertion: string): string | undefined {
  try {
    const { sub } = readUnchecked(assertion).payload
    return typeof sub === 'string' && sub !== '' && !hasControls(sub) ? sub : undefined
  } catch {
    return undefined
  }
}
