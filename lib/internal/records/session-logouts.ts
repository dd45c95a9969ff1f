import type { Promised } from '../../awaitable.ts'
import { tokenDigest } from '../../token-digest.ts'
import type { SessionStore } from '../../session-store.ts'
import { queryById, type IdQuery } from './session-query.ts'
import { sessionOfRow } from './session-row.ts'

type Row = Readonly<Record<string, unknown>>

/** Statements that log one session out. Each resolves to the row of the session as it was before. */
export interface LogoutCalls {
  readonly byToken: (digest: string) => Promise<Row | undefined>
  readonly byId: (query: IdQuery) => Promise<Row | undefined>
}

/** Makes the logouts of one session of a store on a SQL database. */
export function sessionLogouts ({ byToken, byId }: LogoutCalls): Pick<Promised<SessionStore>, 'logOut' | 'logOutById'> {
  return {
    async logOut (token) {
      const row = await byToken(tokenDigest(token))
      return row && sessionOfRow(row)
    },

    async logOutById (asked) {
      const query = queryById(asked)
      const row = query && await byId(query)
      return row && sessionOfRow(row)
    }
  }
}
