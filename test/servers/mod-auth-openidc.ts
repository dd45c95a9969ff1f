import { chownSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { findProgram, startPrivateServer, type Place, type PrivateServer } from './private-process.ts'
import { unprivileged } from './unprivileged.ts'

const modules = '/usr/lib/apache2/modules'
const apache = findProgram('apache2', ['/usr/sbin'])

/** Whether Debian's packages `apache2-bin` and `libapache2-mod-auth-openidc` are installed. */
export const hasModAuthOpenidc = apache !== undefined && existsSync(join(modules, 'mod_auth_openidc.so'))

/** What Apache needs to know of its provider. */
export interface ApacheClient {
  readonly id: string
  readonly secret: string
  readonly issuer: string
}

/** The paths of the server. */
export const apachePaths = {
  page: '/protected/page.txt',
  callback: '/protected/callback',
  backChannel: '/protected/callback?logout=backchannel'
}

/** Starts an Apache with mod_auth_openidc on a free port of loopback: a page for users that are logged in. It ends with this process. */
export async function startApache (client: ApacheClient): Promise<PrivateServer & { remove (): Promise<void> }> {
  const identity = unprivileged(['www-data', 'nobody'])
  return startPrivateServer({
    name: 'apache',
    command: String(apache),
    args: ({ directory }) => ['-D', 'FOREGROUND', '-d', directory, '-f', join(directory, 'apache.conf')],
    url: port => `http://127.0.0.1:${port}`,
    identity,
    prepare (place) {
      const folder = join(place.directory, 'public', 'protected')
      mkdirSync(folder, { recursive: true })
      writeFileSync(join(folder, 'page.txt'), 'a page for users')
      writeFileSync(join(place.directory, 'apache.conf'), configuration(place, client))
      if (identity !== undefined) chownSync(place.directory, identity.uid, identity.gid)
    },
    ping: async port => { await fetch(`http://127.0.0.1:${port}/`) },
    stopSignal: 'SIGTERM'
  })
}

function configuration ({ directory, port }: Place, { id, secret, issuer }: ApacheClient): string {
  const address = `http://127.0.0.1:${port}`
  return `${['mpm_event', 'authn_core', 'authz_core', 'authz_user', 'auth_openidc'].map(load).join('\n')}
Listen 127.0.0.1:${port}
ServerName 127.0.0.1
DefaultRuntimeDir ${directory}
PidFile ${directory}/apache.pid
Mutex file:${directory} default
ErrorLog ${directory}/error.log
LogLevel auth_openidc:info
StartServers 1
DocumentRoot ${directory}/public
OIDCProviderMetadataURL ${issuer}/.well-known/openid-configuration
OIDCClientID ${id}
OIDCClientSecret "${secret}"
OIDCRedirectURI ${address}${apachePaths.callback}
OIDCCryptoPassphrase a-passphrase
OIDCScope openid
OIDCRemoteUserClaim sub
<Location /protected>
  AuthType openid-connect
  Require valid-user
</Location>
`
}

function load (name: string): string {
  return `LoadModule ${name}_module ${modules}/mod_${name}.so`
}
