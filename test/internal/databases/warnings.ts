import type { Test } from 'tap'

/** The process warnings of the library that this emits. */
export async function warningsOf (t: Test, act: () => void): Promise<Error[]> {
  const warnings: Error[] = []
  const listener = (warning: Error) => { if (warning.name === 'FastifyLogoutWarning') warnings.push(warning) }
  process.on('warning', listener)
  t.teardown(() => { process.off('warning', listener) })
  act()
  await new Promise(resolve => setImmediate(resolve))
  return warnings
}
