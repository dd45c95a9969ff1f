import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { blocksOf } from './pages.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Runs a command to its end. Rejects with what it wrote if it fails. */
export async function run (
  command: string, args: readonly string[], options: { readonly cwd: string, readonly env?: NodeJS.ProcessEnv }
): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(command, args, { ...options, timeout: 600_000, maxBuffer: 2 ** 26 })
    return stdout
  } catch (error) {
    const { message, stdout, stderr } = error as Error & { stdout: string, stderr: string }
    throw new Error(`${message}\n${stdout.slice(-4000)}\n${stderr.slice(-4000)}`)
  }
}

/**
 * A folder outside of this repository where somebody installed the packed library and these packages. Needs `npm run build`,
 * and a registry or npm's cache.
 */
export async function installed (t: Test, packages: readonly string[], manifest: object = {}): Promise<string> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'fastify-logout-guide-')))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const [packed] = JSON.parse(await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], { cwd: root }))
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, ...manifest }))
  await run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', `./${packed.filename}`, ...packages], { cwd: folder })
  return folder
}

/** Writes the blocks of a page whose first line is a comment with a path, such as `// src/main.ts`, to these paths. */
export function writeFilesOf (page: string, folder: string): string[] {
  const text = readFileSync(join(root, page), 'utf8')
  return blocksOf({ path: page, text }).flatMap(({ code }) => {
    const path = /^\/\/ ([\w./-]+\.\w+)\n/.exec(code)?.[1]
    if (path === undefined) return []
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), code)
    return [path]
  })
}
