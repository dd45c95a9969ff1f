// The library's SigningHub-style flow.
import Fastify from 'fastify'
import { signingHubLogout } from '../../dist/flows/signinghub.js'
import { fastJwtVerifier } from '../../dist/token-verifiers/fast-jwt.js'
import { jwt, signingHubHost } from './signinghub-host.js'

export default async function () {
  const host = signingHubHost()
  const app = Fastify()
  await app.register(signingHubLogout, {
    verifyToken: fastJwtVerifier({ ...jwt, algorithms: ['HS256'] }),
    user: { isActive: host.isActive },
    deviceToken: { remove: ({ deviceToken, subject }) => host.removeDeviceToken(deviceToken, subject) },
    recordActivity: host.recordActivity
  })
  return { ...host, app, status: 200 }
}
