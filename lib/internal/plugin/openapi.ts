import { CloneType, type TSchema } from '@sinclair/typebox'

/**
 * An OpenAPI security requirement: names of the security schemes that the host's document declares, with their scopes.
 * No default can be right: `@fastify/swagger` cannot build a document whose routes name a scheme that it does not declare.
 * @see https://spec.openapis.org/oas/v3.1.1.html#security-requirement-object
 */
export type SecurityRequirement = Readonly<Record<string, readonly string[]>>

/** An operationId that stays unique in a document when a flow is registered under several prefixes or paths. */
export function operationId (name: string, path: string): string {
  return name + path.replace(/[^a-z0-9]+(.)?/gi, (_, next: string = '') => next.toUpperCase())
}

/** A deep copy of a route's schema. Hooks of the host may write into what they are given: no two routes share an object. */
export function freshSchema<Schema extends object> (schema: Schema): Schema {
  return CloneType(schema as unknown as TSchema) as unknown as Schema
}
