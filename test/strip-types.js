// Node.js before 22.18 cannot run TypeScript. There this file, given to `node --import`, takes the types out with the code that
// newer versions have built in. What it makes of a file is kept, because each of the test files runs in a process of its own.
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { register } from 'node:module'
import { fileURLToPath } from 'node:url'
import { isMainThread } from 'node:worker_threads'

const cache = new URL('../node_modules/.cache/strip-types/', import.meta.url)

if (isMainThread && !('typescript' in process.features)) {
  mkdirSync(cache, { recursive: true })
  register(import.meta.url)
}

/** @type {import('node:module').LoadHook} */
export const load = async (url, context, nextLoad) => {
  if (!url.startsWith('file:') || !new URL(url).pathname.endsWith('.ts')) return nextLoad(url, context)
  return { format: 'module', shortCircuit: true, source: await stripped(readFileSync(new URL(url), 'utf8')) }
}

/** @param {string} source */
async function stripped (source) {
  const file = fileURLToPath(new URL(`${createHash('sha256').update(source).digest('hex')}.js`, cache))
  try {
    return readFileSync(file, 'utf8')
  } catch {
    // @ts-expect-error amaro declares no types before version 1, which needs Node.js 22
    const { transformSync } = await import('amaro')
    const { code } = transformSync(source, { mode: 'strip-only' })
    writeFileSync(`${file}.${process.pid}`, code)
    renameSync(`${file}.${process.pid}`, file)
    return code
  }
}
