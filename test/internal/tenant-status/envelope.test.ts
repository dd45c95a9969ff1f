import { Value } from '@sinclair/typebox/value'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import {
  sendTenantError, sendTenantSuccess, tenantErrorOfStatus, tenantErrorSchema, tenantSuccessSchema, type TenantError
} from '../../../lib/internal/tenant-status/envelope.ts'

async function answer (t: Test, error?: TenantError, id: string = 'req-7') {
  const app = Fastify({ genReqId: () => id })
  t.teardown(() => app.close())
  app.get('/', (request, reply) => error === undefined ? sendTenantSuccess(request, reply) : sendTenantError(request, reply, error))
  return app.inject('/')
}

t.test('the envelope of a success', async t => {
  const { statusCode, headers, body } = await answer(t)
  t.equal(statusCode, 200)
  t.match(headers, { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' })
  t.match(body, /^\{"meta":\{"requestId":"req-7","timestamp":"[-\d]{10}T[:\d]{8}\.\d{3}Z"\},"data":\{"success":true\}\}$/)
  t.ok(Value.Check(tenantSuccessSchema, JSON.parse(body)))
  t.notOk(Value.Check(tenantErrorSchema, JSON.parse(body)))
})

t.test('the envelope of a failure', async t => {
  const errors: readonly TenantError[] = [
    { status: 401, code: 'INVALID_USER_TOKEN', message: 'Invalid user token' },
    { status: 400, code: 'VALIDATION_ERROR', message: 'wrong', validation: { 'x-locale': ['x-locale is required'] } }
  ]
  for (const error of errors) {
    const { statusCode, headers, body } = await answer(t, error, '"\n')
    t.equal(statusCode, error.status)
    t.match(headers, { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' })
    const { meta, error: sent, ...rest } = JSON.parse(body)
    t.strictSame([meta.requestId, sent, rest], ['"\n', error, {}])
    t.ok(Value.Check(tenantErrorSchema, JSON.parse(body)))
  }
})

t.test('the timestamp is the time of the response', async t => {
  const before = Date.now()
  for (let count = 0; count < 3; count++) {
    const { meta } = (await answer(t)).json()
    t.ok(Date.parse(meta.timestamp) >= before && Date.parse(meta.timestamp) <= Date.now(), meta.timestamp)
  }
})

t.test('the error of a status comes from the vendor\'s table, or else from the reason phrase', async t => {
  const rows: ReadonlyArray<readonly [number, string, string]> = [
    [400, 'BAD_REQUEST', 'Bad Request'], [401, 'UNAUTHORIZED', 'Unauthorized'], [403, 'FORBIDDEN', 'Forbidden'],
    [404, 'NOT_FOUND', 'Not Found'],
    [408, 'REQUEST_TIMEOUT', 'Request Timeout'], [409, 'CONFLICT', 'Conflict'], [422, 'UNPROCESSABLE_ENTITY', 'Unprocessable Entity'],
    [429, 'TOO_MANY_REQUESTS', 'Too many requests'], [500, 'INTERNAL_SERVER', 'Something went wrong on our side.'],
    [503, 'SERVICE_UNAVAILABLE', 'Service Unavailable'], [418, 'IM_A_TEAPOT', "I'm a Teapot"],
    [413, 'PAYLOAD_TOO_LARGE', 'Payload Too Large'],
    [505, 'HTTP_VERSION_NOT_SUPPORTED', 'HTTP Version Not Supported'], [499, 'BAD_REQUEST', 'Bad Request'],
    [599, 'INTERNAL_SERVER', 'Something went wrong on our side.']
  ]
  for (const [status, code, message] of rows) t.strictSame(tenantErrorOfStatus(status), { status, code, message })
  for (const status of [200, 399, 600, 400.5, NaN, Infinity]) {
    t.strictSame(tenantErrorOfStatus(status), tenantErrorOfStatus(500), String(status))
  }
})
