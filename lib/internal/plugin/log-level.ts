import type { FastifyBaseLogger } from 'fastify'

/**
 * Returns the log level for a route whose URL, or whose redirect, holds a secret. Fastify logs each request at the level
 * info: this level leaves those lines out, and keeps warnings and errors.
 */
export function levelWithoutRequests ({ level }: Pick<FastifyBaseLogger, 'level'>): 'fatal' | 'error' | 'warn' {
  if (level === 'silent') return 'fatal'
  return (['error', 'fatal'] as const).find(quieter => quieter === level) ?? 'warn'
}
