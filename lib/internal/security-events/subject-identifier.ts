/** The email address of a user, as it was sent: whether case matters is the host's to say. */
export interface EmailSubject { readonly format: 'email', readonly email: string }
/** A user as an issuer knows it: the `iss` and `sub` of its ID Tokens. */
export interface IssuerSubject { readonly format: 'iss_sub', readonly iss: string, readonly sub: string }
/** An id that means something to sender and receiver only. */
export interface OpaqueSubject { readonly format: 'opaque', readonly id: string }
/** A phone number in E.164 form, by the standard. */
export interface PhoneNumberSubject { readonly format: 'phone_number', readonly phone_number: string }
/** An account as an `acct:` URI, by the standard. */
export interface AccountSubject { readonly format: 'account', readonly uri: string }
/** A decentralized identifier. */
export interface DidSubject { readonly format: 'did', readonly url: string }
/** Any URI. */
export interface UriSubject { readonly format: 'uri', readonly uri: string }

/** One way to name a user. */
export type UserSubject = EmailSubject | IssuerSubject | OpaqueSubject | PhoneNumberSubject | AccountSubject | DidSubject | UriSubject

/** Several names of the same user. */
export interface AliasesSubject { readonly format: 'aliases', readonly identifiers: readonly UserSubject[] }

/** A JWT. */
export interface JwtIdSubject { readonly format: 'jwt_id', readonly iss: string, readonly jti: string }
/** A SAML assertion. */
export interface SamlAssertionSubject { readonly format: 'saml_assertion_id', readonly issuer: string, readonly assertion_id: string }
/** Addresses of a device. */
export interface IpAddressesSubject { readonly format: 'ip-addresses', readonly 'ip-addresses': readonly string[] }

/** A subject in a format that this package does not know, as it was sent. */
export interface UnknownSubject { readonly format: 'unknown', readonly members: Readonly<Record<string, unknown>> }

/** One name of a user, a session, a device or something else. */
export type SimpleSubject = UserSubject | AliasesSubject | JwtIdSubject | SamlAssertionSubject | IpAddressesSubject

/** What an event is about, member by member: this session of this user, for example. */
export interface ComplexSubject {
  readonly format: 'complex'
  readonly user?: SimpleSubject | UnknownSubject | undefined
  readonly session?: SimpleSubject | UnknownSubject | undefined
  readonly device?: SimpleSubject | UnknownSubject | undefined
  readonly application?: SimpleSubject | UnknownSubject | undefined
  readonly tenant?: SimpleSubject | UnknownSubject | undefined
  readonly org_unit?: SimpleSubject | UnknownSubject | undefined
  readonly group?: SimpleSubject | UnknownSubject | undefined
  /** Members that no standard names are there too. */
  readonly [member: string]: unknown
}

/**
 * The subject of an event or a command. Every string in it has 1 to 1024 characters.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9493#section-3
 * @see https://openid.net/specs/openid-sharedsignals-framework-1_0.html#name-subject-members-in-ssf-even
 */
export type SubjectIdentifier = SimpleSubject | ComplexSubject

/** Why a subject was refused: `sub_id` (it is not an object), `format`, or the name of the member that is missing or wrong. */
export interface SubjectProblem {
  readonly problem: string
}

type Members = Readonly<Record<string, unknown>>
type Read<Subject> = Subject | SubjectProblem

/** The members that each format of a user must have. */
const userFormats: Readonly<Record<string, readonly string[]>> = {
  email: ['email'],
  iss_sub: ['iss', 'sub'],
  opaque: ['id'],
  phone_number: ['phone_number'],
  account: ['uri'],
  did: ['url'],
  uri: ['uri']
}

const otherFormats: Readonly<Record<string, readonly string[]>> = { jwt_id: ['iss', 'jti'], saml_assertion_id: ['issuer', 'assertion_id'] }

const mostAliases = 10
const longestText = 1024

/** Reads a subject that names a user. Other members are left out. */
export function readUserSubject (value: unknown): Read<UserSubject | AliasesSubject> {
  const named = formatOf(value)
  if ('problem' in named) return named
  return named.format === 'aliases' ? readAliases(named.members) : readTexts<UserSubject>(named, userFormats) ?? { problem: 'format' }
}

/** Reads a subject of any format. One of an unknown format is handed on as it is. */
export function readSubject (value: unknown): Read<SubjectIdentifier | UnknownSubject> {
  const named = formatOf(value)
  if ('problem' in named || named.format !== 'complex') return readSimpleSubject(value)
  const members: Record<string, unknown> = Object.create(null)
  for (const [name, member] of Object.entries(named.members)) {
    const read = name === 'format' || !isObject(member) ? member : readSimpleSubject(member)
    if (isProblem(read)) return read
    members[name] = read
  }
  return { ...members, format: 'complex' }
}

function readSimpleSubject (value: unknown): Read<SimpleSubject | UnknownSubject> {
  const named = formatOf(value)
  if ('problem' in named) return named
  const { format, members } = named
  if (format === 'aliases') return readAliases(members)
  if (format === 'ip-addresses') return readAddresses(members)
  return readTexts<UserSubject | JwtIdSubject | SamlAssertionSubject>(named, { ...userFormats, ...otherFormats }) ?? {
    format: 'unknown',
    members
  }
}

/** Whether a subject was refused. */
export function isProblem (read: unknown): read is SubjectProblem {
  return isObject(read) && !('format' in read) && typeof read['problem'] === 'string'
}

interface Named {
  readonly format: string
  readonly members: Members
}

function formatOf (value: unknown): Read<Named> {
  if (!isObject(value)) return { problem: 'sub_id' }
  const format = ownMember(value, 'format')
  return isText(format) ? { format, members: value } : { problem: 'format' }
}

/** `undefined` for a format that is not among these. */
function readTexts<Subject> ({ format, members }: Named, formats: Readonly<Record<string, readonly string[]>>): Read<Subject> | undefined {
  const names = Object.hasOwn(formats, format) ? formats[format] : undefined
  if (names === undefined) return undefined
  const wrong = names.find(name => !isText(ownMember(members, name)))
  if (wrong !== undefined) return { problem: wrong }
  return Object.fromEntries([['format', format], ...names.map(name => [name, members[name]])]) as Subject
}

/** @see https://www.rfc-editor.org/rfc/rfc9493#section-3.2.8 */
function readAliases (members: Members): Read<AliasesSubject> {
  const list = ownMember(members, 'identifiers')
  if (!Array.isArray(list) || list.length === 0 || list.length > mostAliases) return { problem: 'identifiers' }
  const identifiers: UserSubject[] = []
  for (const entry of list) {
    const named = formatOf(entry)
    const read = 'problem' in named ? named : readTexts<UserSubject>(named, userFormats) ?? { problem: 'format' }
    if (isProblem(read)) return read.problem === 'sub_id' ? { problem: 'identifiers' } : read
    identifiers.push(read)
  }
  return { format: 'aliases', identifiers }
}

function readAddresses (members: Members): Read<IpAddressesSubject> {
  const addresses = ownMember(members, 'ip-addresses')
  if (!Array.isArray(addresses) || addresses.length === 0 || !addresses.every(isText)) return { problem: 'ip-addresses' }
  return { format: 'ip-addresses', 'ip-addresses': [...addresses] }
}

function ownMember (members: Members, name: string): unknown {
  return Object.hasOwn(members, name) ? members[name] : undefined
}

function isText (value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= longestText
}

function isObject (value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
