import type { TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import type { Schema } from '../lib/internal/plugin/schema.ts'

/** Whether a value matches a schema of a route, as TypeBox judges it. */
export function isValid (schema: Schema<unknown>, value: unknown): boolean {
  return Value.Check(schema as unknown as TSchema, value)
}
