import { assertOption } from '../plugin/options.ts'
import type { SessionStore } from '../../session-store.ts'

/**
 * Checks the option `sessions` of a plugin.
 *
 * @throws {TypeError} if it lacks one of these methods
 */
export function assertSessionStore (sessions: unknown, methods: ReadonlyArray<keyof SessionStore>, caller: string): void {
  const given = Object(sessions) as Readonly<Record<string, unknown>>
  assertOption(methods.every(method => typeof given[method] === 'function'), caller, 'sessions',
    `is missing: pass a session store, such as memorySessionStore(), or an object with ${methods.join(', ')}`)
}

/**
 * Checks the option `ids` of a plugin.
 *
 * @throws {TypeError} for any other value
 */
export function assertIdKind (ids: unknown, caller: string): void {
  assertOption(ids === 'uuid' || ids === 'any', caller, 'ids', 'must be "uuid" or "any"')
}
