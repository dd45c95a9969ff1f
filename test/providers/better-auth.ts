import { execFile, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { freePort } from '../servers/private-process.ts'

const version = '1.7.5'

/** The answer to a logout request. */
export interface Answered {
  readonly status: number
  readonly body: string
}

/** An OpenID Provider of better-auth, with one client and one user. */
export interface BetterAuth {
  readonly issuer: string
  readonly clientId: string
  /** Logs the user in at the provider and at the client: the ID Token. */
  logIn (nonce: string): Promise<string>
  /** Signs the user out at the provider, which sends logout tokens. Resolves the status of its answer. */
  signOut (): Promise<number>
  /** Follows a logout request as the user's browser. */
  endSession (url: string): Promise<Answered>
  remove (): void
}

/**
 * Installs better-auth into a folder of its own, and starts it. With `dist`, the `logoutNotifier` of that build sends its logout
 * tokens. Beside the packages of this repository its peer
 * dependencies do not fit.
 */
export async function startBetterAuth (client: string, dist?: string): Promise<BetterAuth> {
  const folder = mkdtempSync(join(tmpdir(), 'fastify-logout-better-auth-'))
  writeFileSync(join(folder, 'package.json'), JSON.stringify({
    private: true, dependencies: { 'better-auth': version, '@better-auth/oauth-provider': version }
  }))
  const install = ['install', '--prefer-offline', '--legacy-peer-deps', '--no-audit', '--no-fund', '--no-package-lock']
  await promisify(execFile)('npm', install, { cwd: folder, timeout: 300_000 })
  const program = join(folder, 'provider.mjs')
  writeFileSync(program, readFileSync(fileURLToPath(new URL('better-auth.mjs.txt', import.meta.url))))

  const port = await freePort()
  const parameters = [String(port), client, ...dist === undefined ? [] : [dist]]
  const child = spawn(process.execPath, [program, ...parameters], { cwd: folder, stdio: ['pipe', 'pipe', 'inherit'] })
  const waiting: Array<{ resolve (value: unknown): void, reject (error: Error): void }> = []
  createInterface({ input: child.stdout }).on('line', line => {
    if (line.startsWith('reply ')) waiting.shift()?.resolve(JSON.parse(line.slice('reply '.length)))
  })
  child.once('exit', code => { for (const { reject } of waiting.splice(0)) reject(new Error(`better-auth ended with ${code}`)) })
  const order = <T>(...parts: string[]) => new Promise<T>((resolve, reject) => {
    waiting.push({ resolve: value => resolve(value as T), reject })
    child.stdin.write(`${JSON.stringify(parts)}\n`)
  })

  return {
    issuer: `http://127.0.0.1:${port}/api/auth`,
    clientId: await order<string>('clientId'),
    logIn: nonce => order('logIn', nonce),
    signOut: () => order('signOut'),
    endSession: url => order('endSession', url),
    remove () {
      child.kill('SIGKILL')
      rmSync(folder, { recursive: true, force: true })
    }
  }
}
