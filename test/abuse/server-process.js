// The example server with stores that can be told to fail or to hang, for abuse.ts to load. It has no port of its own choice.
import { build } from '../../examples/server.js'
import { memory } from '../../examples/stores.js'

/** @type {'up' | 'down' | 'frozen'} */
let state = 'up'

/**
 * @template {object} Store
 * @param {Store} store
 * @returns {Store}
 */
function breakable (store) {
  return new Proxy(store, {
    get (target, name) {
      const method = Reflect.get(target, name)
      if (typeof method !== 'function') return method
      return (/** @type {unknown[]} */ ...values) => {
        if (state === 'down') throw new Error('the password of the store is s3cret')
        return state === 'frozen' ? new Promise(() => {}) : method.apply(target, values)
      }
    }
  })
}

const { name, sessions, users } = memory()
const options = { logger: { level: 'fatal' }, requestTimeout: 2000, http: { headersTimeout: 2000, connectionsCheckingInterval: 500 } }
const server = await build(options, undefined, { name, sessions: breakable(sessions), users: breakable(users) })
const address = await server.app.listen({ port: 0, host: '127.0.0.1' })

function heap () {
  for (let i = 0; i < 3; i++) globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

process.on('message', (/** @type {string} */ question) => {
  if (question === 'heap') process.send?.({ heap: heap() })
  else if (question === 'close') server.app.close().then(() => process.disconnect())
  else state = /** @type {typeof state} */ (question)
})
process.send?.({ address, native: server.kratos.token, signingHub: server.signingHub.token, demo: server.demoPage.token, tenantToken: server.tenantStatus.tenantToken, tenantUser: server.tenantStatus.token })
