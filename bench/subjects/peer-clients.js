// connect-redis over node-redis, as its README sets it up.
import { RedisStore } from 'connect-redis'
import { createClient } from 'redis'

export async function connectRedis ({ url }, prefix = 'sess:') {
  const client = createClient({ url })
  await client.connect()
  return new RedisStore({ client, prefix })
}
