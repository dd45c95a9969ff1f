import { types } from 'node:util'

/**
 * Whether these methods are as the class of the object defines them, all in one place. A host that puts its own `query` in
 * front may look up the transaction of the request that calls.
 */
export function isOwnMethodOf (client: object, members: readonly string[]): boolean {
  if (types.isProxy(client)) return false
  const [owner, ...others] = members.map(member => ownerOf(client, member))
  return owner !== undefined && owner !== client && others.every(other => other === owner)
}

/** The object in the chain of prototypes that has the member. */
function ownerOf (object: object | null, member: string): object | undefined {
  if (object === null || object === undefined) return undefined
  return Object.hasOwn(object, member) ? object : ownerOf(Object.getPrototypeOf(object), member)
}
