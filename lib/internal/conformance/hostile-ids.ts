/** A tenant and a subject in it. */
export interface TenantSubject {
  readonly tenant: string
  readonly subject: string
}

/**
 * Ids that an adapter might interpret: quotes, NUL, lone surrogates, emoji, SQL, Lua, placeholders, patterns, a megabyte.
 * An adapter may refuse them or store them as they are.
 */
export const hostileIds: readonly string[] = [
  'alice\0', '\0', '\0alice', '\ud800', '\ud801', '\ufffd', '\udc00alice', '😀', '\u202ealice', '\ufeffalice',
  '\' OR \'1\'=\'1', 'alice\'; DROP TABLE logout_user_status; --', '"; SELECT 1; --', '$1', '?1', ':subject', '@subject', '%', '_', '*',
  '"]] redis.call("FLUSHALL") --', '{alice}', 'alice\r\nDEL alice\r\n', '$'.concat('{7*7}'), '__proto__', 'constructor', '../alice',
  'a'.repeat(1 << 20), 'a'.repeat(1 << 20).concat('b'), '€'.repeat(1 << 20)
]

/**
 * Users that are easily confused by a joined key, a lenient collation, or a column that is trimmed or normalised. They
 * include `alice` and `bob` of the tenant `acme`.
 */
export const lookAlikes: readonly TenantSubject[] = [
  ...['alice', 'bob', 'Alice', 'alice ', ' alice', 'alic\u00e9', 'alice\u0301', 'acme', '']
    .map(subject => ({ tenant: 'acme', subject })),
  ...['umbrella', 'ACME', 'alice', ''].map(tenant => ({ tenant, subject: 'alice' })),
  ...[':', '|', '/', '\\', ',', '"', '\'', '}', '\t', '","'].flatMap(separator => [
    { tenant: 'acme', subject: `x${separator}alice` },
    { tenant: `acme${separator}x`, subject: 'alice' }
  ]),
  { tenant: '1', subject: '1:1' },
  { tenant: '1:1', subject: '1' },
  { tenant: '4:acme', subject: 'alice' },
  { tenant: '', subject: '4:acmealice' },
  { tenant: 'acmea', subject: 'lice' }
]
