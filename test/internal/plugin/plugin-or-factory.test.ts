import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { pluginOrFactory } from '../../../lib/internal/plugin/plugin-or-factory.ts'

interface Options {
  readonly answer: string
}

async function routes (fastify: FastifyInstance, { answer }: Options): Promise<void> {
  fastify.get('/', async () => answer)
}

const plugin = pluginOrFactory<Options>('a-name', routes)

t.test('it can be registered with options, or be called with options and then registered', async t => {
  for (const register of [
    (app: FastifyInstance) => app.register(plugin, { answer: 'yes', prefix: '/a' }),
    (app: FastifyInstance) => app.register(plugin({ answer: 'yes' }), { prefix: '/a' })
  ]) {
    const app = Fastify()
    t.teardown(() => app.close())
    await register(app)
    t.equal((await app.inject('/a')).body, 'yes')
    t.equal((await app.inject('/')).statusCode, 404, 'the prefix of the registration holds')
  }
})

t.test('both are encapsulated, and have the name of the package and the version of Fastify that they need', async t => {
  for (const made of [plugin, plugin({ answer: 'yes' })] as unknown as Array<Record<symbol, unknown>>) {
    t.strictSame(made[Symbol.for('plugin-meta')], { name: 'fastify-logout/a-name', fastify: '5.x', encapsulate: true })
    t.notOk(made[Symbol.for('skip-override')], 'what it adds stays in its own scope')
  }
})

t.test('two plugins share no metadata that a host could write to', async t => {
  const metadataOf = (made: object) => (made as Record<symbol, unknown>)[Symbol.for('plugin-meta')]
  t.not(metadataOf(plugin({ answer: 'a' })), metadataOf(plugin({ answer: 'b' })))
  t.not(metadataOf(plugin({ answer: 'a' })), metadataOf(plugin))
})

t.test('an error of the options is the rejection of the registration', async t => {
  const failing = pluginOrFactory<Options>('failing', async () => { throw new TypeError('wrong') })
  const options = { answer: '' }
  for (const register of [
    (app: FastifyInstance) => app.register(failing, options), (app: FastifyInstance) => app.register(failing(options))
  ]) {
    const app = Fastify()
    t.teardown(() => app.close())
    await t.rejects(async () => { await register(app) }, { name: 'TypeError', message: 'wrong' })
  }
})
