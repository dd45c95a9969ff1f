// The schemas of routes: JSON Schema for the host's OpenAPI document, each with its own check. They are marked as TypeBox marks
// its schemas, so that its tools read them; to import TypeBox itself would take most of the time that a host needs to start.

const kind = Symbol.for('TypeBox.Kind')
const optional = Symbol.for('TypeBox.Optional')
const check = Symbol('check')

/** A JSON Schema of values of type `T`. */
export interface Schema<T> {
  readonly [check]: (value: unknown) => value is T
  readonly description?: string
}

/** The schema of a member that may be missing. */
export interface OptionalSchema<T> extends Schema<T> {
  readonly [optional]: 'Optional'
}

/** The type of the values that a schema describes. */
export type Static<S> = S extends Schema<infer T> ? T : never

/** What a JSON Schema may say besides, such as `description`. */
type Keywords = Readonly<Record<string, unknown>>
type Members = Readonly<Record<string, Schema<unknown>>>
type OptionalNames<M> = { [Name in keyof M]: M[Name] extends OptionalSchema<unknown> ? Name : never }[keyof M]
type ObjectOf<M> =
  { [Name in Exclude<keyof M, OptionalNames<M>>]: Static<M[Name]> } & { [Name in OptionalNames<M>]?: Static<M[Name]> | undefined }

/** Makes schemas of the types that the wire contracts have. */
export const Type = {
  Array: <T>(items: Schema<T>, options: Keywords = {}): Schema<T[]> =>
    schema('Array', { ...options, type: 'array', items }, (value): value is T[] => Array.isArray(value) && value.every(items[check])),

  Boolean: (options: Keywords = {}): Schema<boolean> =>
    schema('Boolean', { ...options, type: 'boolean' }, value => typeof value === 'boolean'),

  /** One of some strings. */
  Enum: <const T extends string>(values: readonly T[], options: Keywords = {}): Schema<T> =>
    schema('Unsafe', { ...options, type: 'string', enum: [...values] }, (value): value is T => values.some(one => one === value)),

  Integer: (options: Keywords & { readonly minimum?: number, readonly maximum?: number } = {}): Schema<number> => {
    const { minimum = -Infinity, maximum = Infinity } = options
    return schema('Integer', { ...options, type: 'integer' }, (value): value is number => {
      return typeof value === 'number' && Number.isInteger(value) && value >= minimum && value <= maximum
    })
  },

  Literal: <const T extends string | boolean>(literal: T): Schema<T> =>
    schema('Literal', { const: literal, type: typeof literal }, (value): value is T => value === literal),

  Null: (options: Keywords = {}): Schema<null> => schema('Null', { ...options, type: 'null' }, value => value === null),

  Object: objectOf,

  Optional: <T>(member: Schema<T>): OptionalSchema<T> => ({ ...member, [optional]: 'Optional' }),

  /** An object with any names. */
  Record: <T>(_names: Schema<string>, values: Schema<T>): Schema<Record<string, T>> => {
    return schema('Record', { type: 'object', patternProperties: { '^(.*)$': values } }, (value): value is Record<string, T> => {
      return isObject(value) && Object.values(value).every(values[check])
    })
  },

  /** `maxLength` counts UTF-16 code units, as `length` does. */
  String: (options: Keywords & { readonly maxLength?: number, readonly pattern?: string } = {}): Schema<string> => {
    const { maxLength = Infinity, pattern = '' } = options
    const expression = new RegExp(pattern)
    return schema('String', { ...options, type: 'string' }, (value): value is string => {
      return typeof value === 'string' && value.length <= maxLength && expression.test(value)
    })
  },

  Union: <const All extends ReadonlyArray<Schema<unknown>>>(all: All): Schema<Static<All[number]>> =>
    schema('Union', { anyOf: [...all] }, (value): value is Static<All[number]> => all.some(one => one[check](value))),

  Unknown: (): Schema<unknown> => schema('Unknown', {}, (_value): _value is unknown => true)
}

/** The check of a schema that was made here, or of a copy of it; `undefined` for any other schema. */
export function checkOf (schema: unknown): ((value: unknown) => boolean) | undefined {
  return isObject(schema) && check in schema ? (schema as Schema<unknown>)[check] : undefined
}

function schema<T> (name: string, keywords: Keywords, isValid: (value: unknown) => value is T): Schema<T> {
  return { [kind]: name, ...keywords, [check]: isValid } as Schema<T>
}

function objectOf<M extends Members> (
  members: M, options: Keywords & { readonly additionalProperties?: false } = {}
): Schema<ObjectOf<M>> & { readonly properties: M } {
  const entries = Object.entries(members)
  const required = entries.filter(([, member]) => !(optional in member)).map(([name]) => name)
  const isClosed = options.additionalProperties === false
  const keywords = { ...options, type: 'object', ...(required.length > 0 && { required }) }
  const isValid = (value: unknown): value is ObjectOf<M> => {
    if (!isObject(value) || (isClosed && !Object.keys(value).every(name => Object.hasOwn(members, name)))) return false
    return entries.every(([name, member]) => (optional in member && value[name] === undefined) || member[check](value[name]))
  }
  return { ...schema('Object', keywords, isValid), properties: members }
}

function isObject (value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
