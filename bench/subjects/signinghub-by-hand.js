// What a good team would write: a bearer token checked before the body is read, the phone forgotten, the logout recorded.
import { Type } from '@sinclair/typebox'
import { createVerifier } from 'fast-jwt'
import Fastify from 'fastify'
import { jwt, signingHubHost } from './signinghub-host.js'

const schema = {
  body: Type.Union([
    Type.Object({ device_token: Type.Optional(Type.Union([Type.String({ maxLength: 4096 }), Type.Null()])) }),
    Type.Null()
  ]),
  response: { 200: Type.Null(), '4xx': Type.Object({ Message: Type.String() }), '5xx': Type.Object({ Message: Type.String() }) }
}

export default function () {
  const host = signingHubHost()
  const app = Fastify()
  const verify = createVerifier({
    key: jwt.key, algorithms: ['HS256'], allowedIss: jwt.issuer, allowedAud: jwt.audience, requiredClaims: ['exp', 'iss', 'aud', 'sub']
  })

  app.setErrorHandler((error, request, reply) => {
    if (error.statusCode >= 400 && error.statusCode < 500) return refuse(reply, error.statusCode, 'Model state validation failed.')
    request.log.error(error)
    return refuse(reply, 500, 'An internal server error occurred while processing the request')
  })
  app.decorateRequest('user', null)

  app.post('/v3/logout', {
    schema,
    onRequest: async (request, reply) => {
      const token = /^bearer +([^\s,]+) *$/i.exec(request.headers.authorization ?? '')?.[1]
      if (token === undefined) return refuse(reply, 401, 'Request authorization denied', 'Bearer')
      try {
        request.user = verify(token).sub
      } catch {
        return refuse(reply, 401, 'Request authorization denied', 'Bearer error="invalid_token"')
      }
      const active = await host.isActive(request.user)
      if (active === undefined) return refuse(reply, 401, 'User authentication required', 'Bearer')
      if (!active) return refuse(reply, 403, 'Account is disabled')
    },
    handler: async (request, reply) => {
      const deviceToken = request.body?.device_token
      const outcome = deviceToken ? await host.removeDeviceToken(deviceToken, request.user) : 'none'
      await host.recordActivity({
        subject: request.user, at: Date.now(), ip: request.ip, userAgent: request.headers['user-agent'], deviceToken: outcome
      })
      return reply.code(200).header('cache-control', 'no-store').send()
    }
  })
  return { ...host, app, status: 200 }
}

function refuse (reply, status, Message, challenge) {
  if (challenge !== undefined) reply.header('www-authenticate', challenge)
  return reply.code(status).header('cache-control', 'no-store').send({ Message })
}
