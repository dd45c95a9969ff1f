import { Type as TypeBox, type TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import fc from 'fast-check'
import t from 'tap'
import { freshSchema } from '../../../lib/internal/plugin/openapi.ts'
import { checkOf, Type, type Schema, type Static } from '../../../lib/internal/plugin/schema.ts'

/** Each kind of schema here, and the same one of TypeBox. */
const pairs: Readonly<Record<string, readonly [ours: Schema<unknown>, typebox: TSchema]>> = {
  array: [Type.Array(Type.Integer(), { description: 'some' }), TypeBox.Array(TypeBox.Integer(), { description: 'some' })],
  boolean: [Type.Boolean({ description: 'yes or no' }), TypeBox.Boolean({ description: 'yes or no' })],
  integer: [Type.Integer(), TypeBox.Integer()],
  'integer with bounds': [Type.Integer({ minimum: 1, maximum: 3, default: 2 }), TypeBox.Integer({ minimum: 1, maximum: 3, default: 2 })],
  'literal text': [Type.Literal('post'), TypeBox.Literal('post')],
  'literal boolean': [Type.Literal(true), TypeBox.Literal(true)],
  null: [Type.Null({ description: 'nothing' }), TypeBox.Null({ description: 'nothing' })],
  object: [
    Type.Object({ a: Type.String(), b: Type.Optional(Type.Integer()) }, { description: 'open' }),
    TypeBox.Object({ a: TypeBox.String(), b: TypeBox.Optional(TypeBox.Integer()) }, { description: 'open' })
  ],
  'closed object': [
    Type.Object({ a: Type.Optional(Type.Union([Type.String(), Type.Null()])) }, { additionalProperties: false }),
    TypeBox.Object({ a: TypeBox.Optional(TypeBox.Union([TypeBox.String(), TypeBox.Null()])) }, { additionalProperties: false })
  ],
  record: [Type.Record(Type.String(), Type.Array(Type.String())), TypeBox.Record(TypeBox.String(), TypeBox.Array(TypeBox.String()))],
  string: [Type.String({ description: 'any' }), TypeBox.String({ description: 'any' })],
  'string with a length and a pattern': [
    Type.String({ maxLength: 3, pattern: '\\S' }), TypeBox.String({ maxLength: 3, pattern: '\\S' })
  ],
  union: [Type.Union([Type.Boolean(), Type.Null()]), TypeBox.Union([TypeBox.Boolean(), TypeBox.Null()])],
  unknown: [Type.Unknown(), TypeBox.Unknown()]
}

/** Values near to the schemas: their members, their texts, and what is not quite right. */
const leaf = fc.constantFrom<unknown>(
  'post', '', ' ', 'abc', 'abcd', '\u{1f4f1}', true, false, null, undefined, 0, 1, 2, 3, 4, -1, 1.5, '1', NaN, Infinity, 2 ** 53
)
const { value } = fc.letrec(tie => ({
  value: fc.oneof({ maxDepth: 3 }, leaf, fc.array(tie('value'), { maxLength: 3 }), fc.dictionary(
    fc.constantFrom('a', 'b', 'c', '__proto__'), tie('value'), { maxKeys: 3 }
  ))
}))

for (const [name, [ours, typebox]] of Object.entries(pairs)) {
  t.test(`${name}: the same JSON as TypeBox, and the same verdicts`, async t => {
    t.equal(JSON.stringify(ours), JSON.stringify(typebox))
    const isValid = checkOf(ours)
    fc.assert(fc.property(value, one => isValid?.(one) === Value.Check(typebox, one)), { numRuns: 2000 })
    fc.assert(fc.property(value, one => Value.Check(ours as unknown as TSchema, one) === Value.Check(typebox, one)), { numRuns: 200 })
  })
}

t.test('one of some strings', async t => {
  const scope: Schema<'current' | 'all'> = Type.Enum(['current', 'all'], { default: 'all' })
  t.equal(JSON.stringify(scope), '{"default":"all","type":"string","enum":["current","all"]}')
  t.strictSame(['current', 'all', 'others', ['all'], null].map(one => checkOf(scope)?.(one)), [true, true, false, false, false])
})

t.test('a copy of a schema has its check, which later changes of the copy do not reach', async t => {
  const schema = freshSchema(Type.Object({ a: Type.Integer() }))
  Object.assign(schema.properties.a, { type: 'string' })
  t.strictSame([{ a: 1 }, { a: 'x' }].map(one => checkOf(schema)?.(one)), [true, false])
})

t.test('other schemas have no check', async t => {
  for (const other of [{ type: 'object' }, TypeBox.String(), undefined, null, 'text', []]) t.equal(checkOf(other), undefined)
})

t.test('the type of a schema is that of its values', async t => {
  const schema = Type.Object({ name: Type.String(), age: Type.Optional(Type.Union([Type.Integer(), Type.Null()])) })
  const given: Static<typeof schema> = { name: 'alice' }
  // @ts-expect-error: the name is missing
  const wrong: Static<typeof schema> = { age: null }
  t.strictSame([given, wrong].map(one => checkOf(schema)?.(one)), [true, false])
})
