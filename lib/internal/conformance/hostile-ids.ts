/** A tenant and a subject in it. */
export interface TenantSubject {
  readonly tenant: string
  readonly subject: string
}

/**
 * Ids that an adapter might interpret: quotes, NUL, lone surrogates, emoji, SQL, Lua, placeholders, patterns, a megabyte.
 * They may be refused or stored, and nothing else.
 */
export const hostileIds: readonly string[] = [
  'anna\0', '\0', '\0anna', '\ud800', '\ud801', '\ufffd', '\udc00anna', '😀', '\u202eanna', '\ufeffanna',
  '\' OR \'1\'=\'1', 'anna\'; DROP TABLE user_status; --', '"; SELECT 1; --', '$1', '?1', ':subject', '@subject', '%', '_', '*',
  '"]] redis.call("FLUSHALL") --', '{anna}', 'anna\r\nDEL anna\r\n', '$'.concat('{7*7}'), '__proto__', 'constructor', '../../anna',
  'a'.repeat(1 << 20), 'a'.repeat(1 << 20).concat('b'), '€'.repeat(1 << 20)
]

/**
 * Users that a joined key, a lenient collation, a trimmed or a normalised column takes for one another. Among them are
 * `anna` and `berta` of the tenant `acme`.
 */
export const lookAlikes: readonly TenantSubject[] = [
  ...['anna', 'berta', 'Anna', 'anna ', ' anna', 'ann\u00e4', 'anna\u0308', 'acme', '']
    .map(subject => ({ tenant: 'acme', subject })),
  ...['umbrella', 'ACME', 'anna', ''].map(tenant => ({ tenant, subject: 'anna' })),
  ...[':', '|', '/', '\\', ',', '"', '\'', '}', '\t', '","'].flatMap(separator => [
    { tenant: 'acme', subject: `x${separator}anna` },
    { tenant: `acme${separator}x`, subject: 'anna' }
  ]),
  { tenant: '1', subject: '1:1' },
  { tenant: '1:1', subject: '1' },
  { tenant: '4:acme', subject: 'anna' },
  { tenant: '', subject: '4:acmeanna' },
  { tenant: 'acmea', subject: 'nna' }
]
