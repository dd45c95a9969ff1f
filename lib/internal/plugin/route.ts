import { assertGroup, assertOption } from './options.ts'

/** Checks an option that is a path. */
export function assertPath (path: unknown, caller: string, option: string): asserts path is string {
  assertOption(typeof path === 'string' && path.startsWith('/'), caller, option, 'must begin with a slash')
}

/**
 * Returns the option `route` of a plugin that has one route, with its path.
 *
 * @throws {TypeError} if it is not an object, or its path is not a path
 */
export function resolveRoute<Route extends { readonly path?: string | undefined }> (
  route: Route | undefined, standardPath: string, caller: string
): Omit<Partial<Route>, 'path'> & { readonly path: string } {
  const given: Partial<Route> = route === undefined ? {} : route
  assertGroup(given, caller, 'route', `{ path: '${standardPath}' }`)
  const { path = standardPath, ...others } = given
  assertPath(path, caller, 'route.path')
  return { ...others, path }
}
