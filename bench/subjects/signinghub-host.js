// The host of a SigningHub-style logout: accounts, phones, and tokens that another server signs.
import { createSigner } from 'fast-jwt'
import { tokenAt } from './tokens.js'

export const jwt = { key: 'a secret of at least 32 bytes, for HS256', issuer: 'https://login.example', audience: 'https://api.example' }

const sign = createSigner({ key: jwt.key, algorithm: 'HS256', iss: jwt.issuer, aud: jwt.audience, expiresIn: 3_600_000 })

/** The n-th user's token. */
export function userToken (index, claims = {}) {
  return sign({ sub: `user-${index}`, jti: tokenAt(index), ...claims })
}

/** The tables of the host, and the functions that a logout needs of it. */
export function signingHubHost () {
  const accounts = new Map()
  const owners = new Map()
  let recorded = 0
  return {
    isActive: user => accounts.get(user),
    removeDeviceToken: (deviceToken, subject) => {
      const owner = owners.get(deviceToken)
      if (owner === undefined) return 'not-found'
      if (owner !== subject) return 'not-owner'
      owners.delete(deviceToken)
      return 'removed'
    },
    recordActivity: () => { recorded += 1 },
    seed: (from, count) => {
      for (let index = from; index < from + count; index++) {
        accounts.set(`user-${index}`, true)
        owners.set(`phone-${index}`, `user-${index}`)
      }
    },
    isOver: index => recorded > 0 && !owners.has(`phone-${index}`),
    request: index => ({
      method: 'POST',
      path: '/v3/logout',
      headers: { authorization: `Bearer ${userToken(index)}`, 'content-type': 'application/json' },
      body: `{"device_token":"phone-${index}"}`
    })
  }
}
