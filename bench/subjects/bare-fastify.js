// The floor: Fastify with its own parsers, and a handler that does nothing.
import Fastify from 'fastify'
import { kratosRequest } from './kratos-request.js'

export default function () {
  const app = Fastify()
  app.delete('/self-service/logout/api', (_request, reply) => reply.code(204).send())
  return { app, request: kratosRequest }
}
