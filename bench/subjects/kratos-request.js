import { tokenAt } from './tokens.js'

/** The native logout of the n-th session. */
export function kratosRequest (index) {
  return {
    method: 'DELETE',
    path: '/self-service/logout/api',
    headers: { 'content-type': 'application/json' },
    body: `{"session_token":"ory_st_${tokenAt(index)}"}`
  }
}

export function kratosToken (index) {
  return `ory_st_${tokenAt(index)}`
}
