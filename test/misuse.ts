import Fastify, { type FastifyPluginAsync } from 'fastify'
import type { Test } from 'tap'

/** Wrong values by the name of the option that they are wrong for; `a.b` is the member `b` of the option `a`. */
export type WrongOptions = Readonly<Record<string, readonly unknown[]>>

/** Checks that each wrong value makes the registration throw a `TypeError` that names the plugin and the option. */
export async function assertMisuse<Options extends object> (
  t: Test, plugin: FastifyPluginAsync<Options>, name: string, valid: Options, wrong: WrongOptions
): Promise<void> {
  for (const [option, values] of Object.entries(wrong)) {
    const message = new RegExp(`^${name}: option "${option.replaceAll('.', '\\.')}" .*(must be|is missing: pass)`)
    for (const value of values) {
      const app = Fastify()
      await t.rejects(Promise.resolve(app.register(plugin as FastifyPluginAsync, withOption(valid, option.split('.'), value))), {
        name: 'TypeError', message
      }, `${option}: ${JSON.stringify(value)}`)
    }
  }
}

/** The options with another value at this path of names. */
export function withOption (options: object, [name = '', ...rest]: readonly string[], value: unknown): object {
  if (rest.length === 0) return { ...options, [name]: value }
  return { ...options, [name]: withOption((options as Record<string, object>)[name] ?? {}, rest, value) }
}
