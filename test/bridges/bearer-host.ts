import type { FastifyInstance } from 'fastify'
import type { RevocationStore } from '../../lib/revocation-store.ts'

/** Asks a route with a token. */
export async function ask (app: FastifyInstance, token: string, url = '/') {
  return app.inject({ url, headers: { authorization: `Bearer ${token}` } })
}

/** Every way in which a revocation store cannot tell, by name. */
export const failing: Record<string, RevocationStore['check']> = {
  throws () { throw new Error('secret detail') },
  rejects: async () => { throw new Error('secret detail') },
  hangs: () => new Promise(() => {})
}
