import type { FastifyError, FastifyInstance, FastifyRequest } from 'fastify'

/** The most bytes of a body that are read. */
export const bodyLimit = 65_536

/** A body of JSON. */
export interface JsonCommand {
  /** As it was sent. */
  readonly text: string
  readonly json: unknown
}

const problemCode = 'LOGOUT_BODY'

/** Why a body was refused. */
export type BodyProblem = 'media type' | 'body'

/**
 * Makes an isolated scope read JSON, whatever parsers the host has. Members named `__proto__`, and data after the JSON, are
 * refused. Other media types are refused too.
 */
export function readJsonCommands (scope: FastifyInstance): void {
  const parse = scope.getDefaultJsonParser('error', 'error')
  scope.addContentTypeParser(['application/json', '*'], { parseAs: 'string' }, (request: FastifyRequest, text: string, done) => {
    const type = request.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase()
    if (text !== '' && type !== 'application/json') return done(problem('media type'))
    parse(request, text, (error, json) => { error === null ? done(null, { text, json }) : done(problem('body')) })
  })
}

function problem (message: BodyProblem): Error {
  return Object.assign(new Error(message), { statusCode: 400, code: problemCode })
}

/** Which problem of a body was thrown, if any. Fastify refuses malformed media types itself. */
export function bodyProblemOf (thrown: unknown): BodyProblem | undefined {
  const { code, message } = Object(thrown) as Partial<FastifyError>
  if (code === problemCode) return message as BodyProblem
  return code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE' ? 'media type' : undefined
}
