import Database from 'better-sqlite3'
import Fastify from 'fastify'
import { appendFileSync } from 'node:fs'
import { globalTokenRevocation } from '../../lib/flows/global-token-revocation.ts'
import { securityEvents } from '../../lib/flows/security-events.ts'
import { sqliteRevocationStore } from '../../lib/revocation-stores/sqlite.ts'
import { sqliteSessionStore } from '../../lib/session-stores/sqlite.ts'

/** Where a node ends its own process: before or after this step. */
export interface Death {
  readonly step: string
  readonly when: 'before' | 'after'
}

/** What the nodes of one host share: the file of its database, another one for its notifications, and the key of the sender. */
export interface SharedFiles {
  readonly database: string
  readonly told: string
  readonly publicKey: string
}

export const sender = { issuer: 'https://acme.okta.com', clientId: 'client-of-acme' }
export const endpointUrl = 'https://app.example/global-token-revocation'
export const steps = ['resolveSubject', 'mark', 'revokeRefreshTokens', 'alsoEnd', 'sessions', 'remember', 'onLogout', 'onEvent'] as const

/** A host on SQLite. */
export async function startNode ({ database: file, told, publicKey }: SharedFiles, death?: Death) {
  const database = new Database(file)
  database.exec('PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS refresh_token (subject TEXT)')
  const sessions = sqliteSessionStore(database)
  const revocations = sqliteRevocationStore(database)
  await sessions.migrate()
  await revocations.migrate()

  const at = <Values extends readonly unknown[],
    Result> (step: string, act: (...values: Values) => Result) => (...values: Values): Result => {
      if (death?.step === step && death.when === 'before') process.kill(process.pid, 'SIGKILL')
      const result = act(...values)
      if (death?.step === step && death.when === 'after') process.kill(process.pid, 'SIGKILL')
      return result
    }
  const used = { check: revocations.check, revoke: at('remember', revocations.revoke) }
  const common = {
    end: {
      revoke: { revocations: { revoke: at('mark', revocations.revoke) }, lifetime: 3_600_000 },
      alsoEnd: at('alsoEnd', () => {}),
      sessions: {
        list: sessions.list, logOutById: at('sessions', sessions.logOutById), logOutSubject: at('sessions', sessions.logOutSubject)
      }
    },
    onLogout: at('onLogout', event => { appendFileSync(told, `${JSON.stringify(event)}\n`) }),
    timeout: 10_000
  } satisfies Partial<Parameters<typeof securityEvents>[1]>
  const resolveSubject = at('resolveSubject', () => [{ subject: 'alice' }])

  const app = Fastify()
  app.addHook('onClose', async () => { database.close() })
  await app.register(globalTokenRevocation, {
    ...common,
    authenticate: { senders: [{ ...sender, key: publicKey }], endpointUrl, revocations: used },
    resolveSubject,
    end: {
      ...common.end,
      revokeRefreshTokens: at('revokeRefreshTokens', () => database.prepare("DELETE FROM refresh_token WHERE subject = 'alice'").run())
    }
  })
  await app.register(securityEvents, {
    ...common,
    streams: [{ issuer: sender.issuer, audience: 'us', key: publicKey }],
    revocations: used,
    resolveSubject,
    onEvent: at('onEvent', () => {})
  })
  return { app, database, sessions, revocations }
}

// As a process of its own: its files and its death are its arguments.
if (process.argv[1] === import.meta.filename) {
  const { app } = await startNode(JSON.parse(String(process.argv[2])) as SharedFiles, JSON.parse(String(process.argv[3])) as Death)
  process.stdout.write(`${await app.listen({ port: 0, host: '127.0.0.1' })}\n`)
}
