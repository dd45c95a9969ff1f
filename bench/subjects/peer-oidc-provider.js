// oidc-provider's revocation of an opaque access token, by the client that it was issued to.
import Provider from 'oidc-provider'
import { redisAdapter } from './oidc-redis-adapter.js'

const clientId = 'bench'
const clientSecret = 'a-secret-of-the-client'

export default async function ({ store }) {
  const provider = new Provider('http://localhost:3000', {
    ...(store.kind === 'redis' && { adapter: await redisAdapter(store) }),
    clients: [{ client_id: clientId, client_secret: clientSecret, redirect_uris: ['http://localhost:3000/cb'], grant_types: ['authorization_code'] }],
    features: { revocation: { enabled: true }, devInteractions: { enabled: false } },
    cookies: { keys: ['a key of the cookies'] }
  })
  const client = await provider.Client.find(clientId)
  const tokens = []
  return {
    handler: provider.callback(),
    status: 200,
    most: 250,
    request: index => ({
      method: 'POST',
      path: '/token/revocation',
      headers: {
        authorization: `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}`,
        'content-type': 'application/x-www-form-urlencoded'
      },
      body: `token=${tokens[index]}&token_type_hint=access_token`
    }),
    seed: async (from, count) => {
      for (let index = from; index < from + count; index++) {
        const accountId = `user-${index}`
        const grant = new provider.Grant({ clientId, accountId })
        grant.addOIDCScope('openid')
        const grantId = await grant.save()
        tokens[index] = await new provider.AccessToken({ accountId, client, grantId, gty: 'authorization_code', scope: 'openid' }).save()
      }
    },
    isOver: async index => await provider.AccessToken.find(tokens[index]) === undefined
  }
}
