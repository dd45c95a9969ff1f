import { execFile } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { withAbsoluteLinks } from '../../.ci/absolute-links.js'
import { linksOf } from '../docs/pages.ts'

// The README as npm shows it: without the files beside it.

const run = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))
const repository = 'https://github.com/example/fastify-logout'

t.test('a relative link becomes one to the file, the folder or the image of the tag', async t => {
  const absolute = (text: string) => withAbsoluteLinks(text, repository, 'v1.2.3')
  t.equal(absolute('[a](README.md)'), `[a](${repository}/blob/v1.2.3/README.md)`)
  t.equal(absolute('[`a` b](docs/stores.md#redis).'), `[\`a\` b](${repository}/blob/v1.2.3/docs/stores.md#redis).`)
  t.equal(absolute('[examples/](examples)'), `[examples/](${repository}/tree/v1.2.3/examples)`)
  t.equal(absolute('![a page](docs/images/demo-page.png)'), `![a page](${repository}/raw/v1.2.3/docs/images/demo-page.png)`)
  for (const text of ['[a](https://nodejs.org/)', '[a](#security)', '[a](mailto:a@b.example)', '`[a](b.md)`', '```js\n[a](b.md)\n```', '[a]', '(b.md)']) {
    t.equal(absolute(text), text)
  }
  t.throws(() => absolute('[a](docs/missing.md)'), { code: 'ENOENT' })
  t.throws(() => absolute('![a](docs/missing.png)'), { code: 'ENOENT' })
})

/** The commands of the release that change files, in their order. */
function releaseSteps (): string[] {
  const workflow = readFileSync(join(root, '.github/workflows/release.yml'), 'utf8')
  const steps = [...workflow.matchAll(/^ +- run: (.*)$/gm)].map(([, command = '']) => command)
  const published = steps.findIndex(command => command.startsWith('npm publish '))
  return steps.slice(0, published).filter(command => /^(?:npm pkg|node) /.test(command))
}

t.test('what the release packs has no relative link in its README, and each link leads to a file of the tag', async t => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'fastify-logout-release-')))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const given = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md', 'package.json', '.ci', 'docs', 'examples']
  for (const name of given) cpSync(join(root, name), join(folder, name), { recursive: true })
  rmSync(join(folder, 'docs/api'), { recursive: true, force: true }) // It is in no commit.
  mkdirSync(join(folder, 'out'))

  const env = {
    ...process.env, GITHUB_SERVER_URL: 'https://github.com', GITHUB_REPOSITORY: 'example/fastify-logout', GITHUB_REF_NAME: 'v1.2.3'
  }
  const steps = releaseSteps()
  t.equal(steps.length, 2)
  for (const step of steps) await run('bash', ['-c', step], { cwd: folder, env })
  await run('npm', ['pack', '--ignore-scripts', '--pack-destination', 'out'], { cwd: folder })
  await run('bash', ['-c', 'tar -xzf out/*.tgz'], { cwd: folder })

  const packed = (name: string) => readFileSync(join(folder, 'package', name), 'utf8')
  t.strictSame(JSON.parse(packed('package.json')).repository, { type: 'git', url: `git+${repository}.git` })
  const links = linksOf({ path: 'README.md', text: packed('README.md') })
  const written = linksOf({ path: 'README.md', text: readFileSync(join(root, 'README.md'), 'utf8') })
  t.equal(links.length, written.length)
  t.strictSame(links.filter(link => !/^https:\/\/|^#/.test(link)), [], 'no relative link')
  const own = links.filter(link => link.startsWith(`${repository}/`))
  t.ok(own.length > 30)
  for (const link of own) {
    const [, kind, path = ''] = /^(blob|tree|raw)\/v1\.2\.3\/([^#]+)/.exec(link.slice(repository.length + 1)) ?? []
    t.ok(kind && existsSync(join(folder, path)), link)
  }
})
