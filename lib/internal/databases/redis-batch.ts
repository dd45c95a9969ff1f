import { waitingCalls } from './call-batch.ts'
import { listOf, type Reply, type RunScript } from './redis.ts'

/** A call on one key. All calls of a batch have the same number of values. */
export interface KeyCall {
  readonly key: string
  readonly values: readonly string[]
}

/**
 * Runs a Lua function for the calls of one turn of the event loop in one script, so in one round trip. All keys must be on
 * one server. `lua` defines `act (key, ...)`, which gets the values of a call and returns a list or `false`.
 *
 * A key of another type rejects only its own call. Every other error is an error of the whole command, because clients act
 * upon some of them: ioredis connects again after READONLY.
 */
export function actTogether (script: (lua: string) => RunScript, lua: string): (call: KeyCall) => Promise<Reply> {
  const run = script(`${lua}${eachKeyLua}`)
  return waitingCalls(async calls => {
    const values = calls.flatMap(call => call.values)
    const replies = await run(calls.map(({ key }) => key), `${values.length / calls.length}`, ...values)
    return listOf(replies).map(reply => typeof reply === 'string' ? new Error(reply) : reply)
  })
}

const eachKeyLua = `
local replies = {}
local count = tonumber(ARGV[1])
for place, key in ipairs(KEYS) do
  local last = 1 + place * count
  local done, reply = pcall(act, key, unpack(ARGV, last - count + 1, last))
  if not done then
    reply = type(reply) == 'table' and reply.err or tostring(reply)
    if reply:sub(1, 9) ~= 'WRONGTYPE' then return redis.error_reply(reply) end
  end
  replies[place] = reply
end
return replies
`
