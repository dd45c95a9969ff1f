import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'

/** A plugin that is also a function which takes the options and returns the plugin for them. */
export interface PluginOrFactory<Options> {
  (options: Options): FastifyPluginAsync
  (fastify: FastifyInstance, options: Options): Promise<void>
}

/**
 * Makes a plugin for `app.register(plugin, options)` and `app.register(plugin(options))`. `register` cannot infer the type of
 * the host's session from options, the function can.
 *
 * @param name the name of the plugin, without that of the package
 */
export function pluginOrFactory<Options extends object> (
  name: string, routes: (fastify: FastifyInstance, options: Options) => Promise<void>
): PluginOrFactory<Options> {
  const metadata = () => ({ name: `fastify-logout/${name}`, fastify: '5.x', encapsulate: true })
  const either = (first: FastifyInstance | Options, options?: Options): FastifyPluginAsync | Promise<void> => {
    if (options !== undefined) return routes(first as FastifyInstance, options)
    return fp(async (fastify: FastifyInstance) => routes(fastify, first as Options), metadata())
  }
  return fp(either as FastifyPluginAsync, metadata()) as unknown as PluginOrFactory<Options>
}
