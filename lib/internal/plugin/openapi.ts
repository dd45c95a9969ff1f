import { CloneType, type TSchema } from '@sinclair/typebox'

/**
 * An OpenAPI security requirement: names of security schemes that the host's document declares, with their scopes. There is
 * no default, because `@fastify/swagger` cannot build a document whose routes name a scheme that it does not declare.
 * @see https://spec.openapis.org/oas/v3.1.1.html#security-requirement-object
 */
export type SecurityRequirement = Readonly<Record<string, readonly string[]>>

/** Returns an operationId that is unique in a document even if a flow is registered under several prefixes or paths. */
export function operationId (name: string, path: string): string {
  return name + path.replace(/[^a-z0-9]+(.)?/gi, (_, next: string = '') => next.toUpperCase())
}

/** Returns a deep copy of a route's schema: hooks of the host may write into it, so no two routes may share an object. */
export function freshSchema<Schema extends object> (schema: Schema): Schema {
  return CloneType(schema as unknown as TSchema) as unknown as Schema
}
