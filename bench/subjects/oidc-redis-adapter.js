// An adapter of oidc-provider for Redis, after the example in its repository.
import { openClient } from './clients.js'

const grantable = new Set(['AccessToken', 'AuthorizationCode', 'RefreshToken', 'DeviceCode', 'BackchannelAuthenticationRequest'])

export async function redisAdapter (store) {
  const redis = await openClient(store)

  return class {
    constructor (name) {
      this.name = name
    }

    key (id) {
      return `oidc:${this.name}:${id}`
    }

    async upsert (id, payload, expiresIn) {
      const key = this.key(id)
      const commands = redis.multi().set(key, JSON.stringify(payload), ...(expiresIn ? ['EX', expiresIn] : []))
      if (grantable.has(this.name) && payload.grantId) {
        commands.rpush(`oidc:grant:${payload.grantId}`, key)
        if (expiresIn) commands.expire(`oidc:grant:${payload.grantId}`, expiresIn)
      }
      await commands.exec()
    }

    async find (id) {
      const text = await redis.get(this.key(id))
      return text ? JSON.parse(text) : undefined
    }

    async destroy (id) {
      await redis.del(this.key(id))
    }

    async revokeByGrantId (grantId) {
      const tokens = await redis.lrange(`oidc:grant:${grantId}`, 0, -1)
      await redis.del(...tokens, `oidc:grant:${grantId}`)
    }
  }
}
