import Database from 'better-sqlite3'
import { generateKeyPairSync } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { findProgram, startPrivateServer, type PrivateServer } from './private-process.ts'

const schema = '/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3'
const modules = '/usr/lib/glewlwyd'

/** Whether Debian's package is installed. */
export const hasGlewlwyd = findProgram('glewlwyd') !== undefined && existsSync(schema)

/** A client of the provider. */
export interface GlewlwydClient {
  readonly id: string
  readonly secret: string
  readonly redirectUri: string
  readonly returnUrl: string
  readonly backChannelUri: string
}

/** Glewlwyd, an OpenID Provider in C, with one client. Its only user, `admin`, is signed in. */
export interface Glewlwyd {
  readonly server: PrivateServer
  readonly issuer: string
  /** Logs the user in at the client: the ID Token. */
  logIn (nonce: string): Promise<string>
  /** Ends the session at the provider, which sends logout tokens. Resolves the status of its answer. */
  endSession (sid: string): Promise<number>
  /** Asks where a logout request leads. */
  logoutPage (url: string): Promise<Response>
  remove (): Promise<void>
}

/** Starts a Glewlwyd on a free port of loopback. It ends with this process. */
export async function startGlewlwyd (client: GlewlwydClient): Promise<Glewlwyd> {
  const server = await startPrivateServer({
    name: 'glewlwyd',
    command: 'glewlwyd',
    args: ({ directory }) => ['--config-file', join(directory, 'glewlwyd.conf')],
    url: port => `http://127.0.0.1:${port}`,
    prepare ({ directory, port }) {
      const database = join(directory, 'glewlwyd.db')
      new Database(database).exec(readFileSync(schema, 'utf8')).close()
      writeFileSync(join(directory, 'glewlwyd.conf'), configuration(port, database))
    },
    ping: async port => { await fetch(`http://127.0.0.1:${port}/config`) },
    stopSignal: 'SIGTERM'
  })
  const issuer = `${server.url}/api/oidc`
  const api = await signedIn(server.url)
  await configure(api, issuer, client)
  const credentials = Buffer.from(`${client.id}:${client.secret}`).toString('base64')

  return {
    server,
    issuer,
    async logIn (nonce) {
      const query = new URLSearchParams({
        response_type: 'code', client_id: client.id, redirect_uri: client.redirectUri, scope: 'openid', state: 'x', nonce, g_continue: ''
      })
      const authorized = await api('GET', `oidc/auth?${query}`)
      const code = new URL(authorized.headers.get('location') ?? '').searchParams.get('code') ?? ''
      const response = await fetch(`${issuer}/token`, {
        method: 'POST',
        headers: { authorization: `Basic ${credentials}` },
        body: new URLSearchParams({ grant_type: 'authorization_code', code, redirect_uri: client.redirectUri })
      })
      const { id_token: idToken } = await response.json() as { id_token?: string }
      if (idToken === undefined) throw new Error(`no ID Token: ${response.status} ${authorized.headers.get('location')}`)
      return idToken
    },
    endSession: async sid => (await api('DELETE', `oidc/session/${encodeURIComponent(sid)}/`)).status,
    logoutPage: url => fetch(url, { redirect: 'manual' }),
    remove: () => server.remove()
  }
}

type Api = (method: string, path: string, body?: object) => Promise<Response>

/** The API, as the administrator. */
async function signedIn (url: string): Promise<Api> {
  const jar = new Map<string, string>()
  const api: Api = async (method, path, body) => {
    const response = await fetch(`${url}/api/${path}`, {
      method,
      redirect: 'manual',
      headers: {
        cookie: Array.from(jar, pair => pair.join('=')).join('; '), ...(body !== undefined && { 'content-type': 'application/json' })
      },
      ...(body !== undefined && { body: JSON.stringify(body) })
    })
    for (const line of response.headers.getSetCookie()) {
      const [name = '', value = ''] = (line.split(';', 1)[0] ?? '').split('=')
      jar.set(name, value)
    }
    if (response.status >= 400) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`)
    return response
  }
  await api('POST', 'auth/', { username: 'admin', password: 'password' })
  return api
}

async function configure (api: Api, issuer: string, client: GlewlwydClient): Promise<void> {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  await api('POST', 'mod/plugin', {
    module: 'oidc',
    name: 'oidc',
    display_name: 'OpenID Connect',
    enabled: true,
    parameters: {
      iss: issuer,
      'jwt-type': 'rsa',
      'jwt-key-size': '256',
      key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
      cert: publicKey.export({ type: 'spki', format: 'pem' }),
      'jwks-show': true,
      'access-token-duration': 3600,
      'refresh-token-duration': 3600,
      'code-duration': 600,
      'refresh-token-rolling': true,
      'allow-non-oidc': false,
      'auth-type-code-enabled': true,
      'auth-type-refresh-enabled': true,
      'subject-type': 'public',
      'session-management-allowed': true,
      'session-cookie-name': 'GLEWLWYD2_OIDC_SID',
      'session-cookie-expiration': 3600,
      'back-channel-logout-allowed': true,
      'front-channel-logout-allowed': true
    }
  })
  await api('POST', 'client', {
    client_id: client.id,
    name: 'the host',
    enabled: true,
    confidential: true,
    client_secret: client.secret,
    redirect_uri: [client.redirectUri],
    authorization_type: ['code'],
    token_endpoint_auth_method: ['client_secret_basic'],
    post_logout_redirect_uris: client.returnUrl,
    backchannel_logout_uri: client.backChannelUri,
    backchannel_logout_session_required: '1'
  })
  const admin = await (await api('GET', 'user/admin')).json() as { scope: string[] }
  await api('PUT', 'user/admin', { ...admin, scope: [...admin.scope, 'openid'] })
  await api('PUT', `auth/grant/${client.id}`, { scope: 'openid' })
}

function configuration (port: number, database: string): string {
  return `port=${port}
bind_address="127.0.0.1"
external_url="http://127.0.0.1:${port}"
login_url="login.html"
api_prefix="api"
log_mode="console"
log_level="DEBUG"
cookie_secure=0
session_expiration=3600
session_key="GLEWLWYD2_SESSION_ID"
admin_session_authentication="cookie"
profile_session_authentication="cookie"
admin_scope="g_admin"
profile_scope="g_profile"
user_module_path="${modules}/user"
client_module_path="${modules}/client"
user_auth_scheme_module_path="${modules}/scheme"
plugin_module_path="${modules}/plugin"
use_secure_connection=false
secure_connection_key_file="unused"
secure_connection_pem_file="unused"
secure_connection_ca_file="unused"
hash_algorithm="SHA512"
database =
{
  type = "sqlite3"
  path = "${database}"
}
`
}
