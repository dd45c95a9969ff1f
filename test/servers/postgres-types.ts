import pg from 'pg'

const asText = (value: string | Buffer) => value

/** Options of `pg` that change the types of what it returns: hosts set them for their own tables. */
export const valueTypes: ReadonlyArray<{ readonly what: string, readonly types: pg.CustomTypesConfig }> = [
  { what: 'every value as text', types: { getTypeParser: () => asText } },
  { what: 'bigint as BigInt', types: { getTypeParser: (oid: number) => oid === 20 ? BigInt : pg.types.getTypeParser(oid) } },
  { what: 'bigint as a number', types: { getTypeParser: (oid: number) => oid === 20 ? Number : pg.types.getTypeParser(oid) } }
]
