import type { RevocationStore } from '../../revocation-store.ts'
import { tokenDigest } from '../../token-digest.ts'
import type { Ask } from '../plugin/ask.ts'

/** A store of marks that remembers which tokens have done their work. */
export type UsedTokenStore = Pick<RevocationStore, 'check' | 'revoke'>

/** A token with a `jti`. */
export interface UsableToken {
  readonly issuer: string
  readonly jti: string
  /** How long it must be remembered, in epoch milliseconds. */
  readonly until: number
  /** What the token was sent with. A token that was used is refused with anything else. */
  readonly body?: string | undefined
}

/** Remembers which tokens have done their work. */
export interface UsedTokens {
  /** `new`: not used yet. `done`: used with this body. `used`: used with another one. */
  stateOf (token: UsableToken): Promise<'new' | 'done' | 'used'>
  remember (token: UsableToken): Promise<void>
}

/**
 * Remembers used tokens as marks. Their ids are digests that no real token has, so the store may be the one of the host's
 * guard.
 *
 * The token is asked for before its body, and both are remembered in one call, the body first. The other way round, one of
 * many equal requests at once could find the token and not its body.
 */
export function usedTokens (revocations: UsedTokenStore, ask: Ask): UsedTokens {
  const isMarked = async (tokenId: string) => await ask('revocations.check', () => revocations.check({ tokenId })) === 'revoked'

  return {
    async stateOf (token) {
      if (!await isMarked(idOf(token))) return 'new'
      return token.body === undefined || await isMarked(idOf(token, token.body)) ? 'done' : 'used'
    },

    async remember (token) {
      const until = Math.ceil(token.until)
      const ids = token.body === undefined ? [idOf(token)] : [idOf(token, token.body), idOf(token)]
      await ask('revocations.revoke', () => revocations.revoke(...ids.map(tokenId => ({ tokenId, until }))))
    }
  }
}

function idOf ({ issuer, jti }: UsableToken, ...body: string[]): string {
  return tokenDigest(JSON.stringify(['fastify-logout used token', issuer, jti, ...body]))
}
