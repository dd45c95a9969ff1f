import Fastify from 'fastify'
import { backChannelLogout } from '../../lib/flows/openid-back-channel.ts'
import { sharedDatabase } from './openid-stores.ts'

/**
 * A receiver of logout tokens with a process of its own. It kills itself at a step: before or after the index was asked,
 * before the second session, or before what follows.
 */
const [database = '', url = '', issuer = '', step = ''] = process.argv.slice(2)
const { index, sessions } = sharedDatabase(database).open(url)
let ended = 0
const dieAt = (name: string) => { if (name === step) process.kill(process.pid, 'SIGKILL') }

const app = Fastify()
await app.register(backChannelLogout, {
  issuers: [{ issuer, clientId: 'shop', jwksUri: `${issuer}/keys` }],
  index: {
    logOut: async logout => {
      dieAt('before the index')
      const found = await index.logOut(logout)
      dieAt('after the index')
      return found
    }
  },
  sessions: {
    logOutById: async query => {
      if (ended++ === 1) dieAt('before the second session')
      return sessions.logOutById(query)
    }
  },
  sessionLifetime: 3_600_000,
  route: { parallel: 1 },
  alsoEnd: () => dieAt('before what follows')
})
console.log(await app.listen({ port: 0, host: '127.0.0.1' }))
