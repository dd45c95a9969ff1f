// The library's `sessionLogout` on the same host.
import { sessionLogout } from '../../dist/index.js'
import { sessionHost } from './session-logout-hosts.js'

export default async function (parameters) {
  const { byHand, sessions, ...host } = await sessionHost(parameters)
  await host.app.register(sessionLogout, { sessions })
  return host
}
