import { readFileSync } from 'node:fs'
import t from 'tap'

// The figures in the docs come from bench/results.json. `node bench/pages.js` writes them.

interface Bench {
  readonly pages: readonly string[]
  withFigures (page: string, text: string, results: unknown): { readonly written: string, readonly rest: string }
  document (results: unknown, remarks: string): string
  charts (results: unknown): Record<string, string>
}

const { pages, withFigures } = await load('pages')
const { document, charts } = await load('report')
const results: unknown = JSON.parse(textOf('bench/results.json'))

/** The benchmark is JavaScript. */
async function load (name: string): Promise<Bench> {
  return await import(`../../bench/${name}.js`) as Bench
}

function textOf (path: string): string {
  return readFileSync(path, 'utf8')
}

t.test('every figure that the docs take from the benchmark is the one in its results', async t => {
  t.strictSame(pages, ['docs/benchmarks.md', 'docs/scaling.md', 'docs/stores.md'])
  for (const page of pages) t.equal(textOf(page), withFigures(page, textOf(page), results).written, `${page}: run \`node bench/pages.js\``)
})

t.test('the pages about what it costs have no other figures', async t => {
  const assumptions = /(?:10 and )?\b(?:10|100) million|\b15 minutes|of 2026/g
  for (const page of ['docs/benchmarks.md', 'docs/scaling.md']) {
    const { rest } = withFigures(page, textOf(page), results)
    t.strictSame(rest.replaceAll(assumptions, '').match(/.*\d.*/g), null, page)
  }
})

t.test('the README has no figure of what it costs', async t => {
  t.notMatch(textOf('README.md'), /\d (?:µs|microseconds|megabytes|requests a second|logouts a second)|\d(?:\.\d+)?x\b/)
})

t.test('a sentence that the page does not have is refused, and a wrong figure is replaced', async t => {
  const [page = ''] = pages
  const text = textOf(page)
  const another = text.replace('in memory', 'somewhere')
  t.throws(() => withFigures(page, another, results), { message: /^docs\/benchmarks\.md has this sentence 0 times/ })
  t.throws(() => withFigures(page, text + text, results), { message: /^docs\/benchmarks\.md has this sentence 2 times/ })
  const wrong = text.replace(/\d\.\d+ \(Kratos-style\)/, '9.99 (Kratos-style)')
  t.not(wrong, text)
  t.equal(withFigures(page, wrong, results).written, text)
})

t.test('the report and its curves are those of the results', async t => {
  t.equal(textOf('bench/RESULTS.md'), document(results, textOf('bench/REMARKS.md')), 'run `npm run bench -- --report --out bench`')
  for (const [name, curve] of Object.entries(charts(results))) t.equal(textOf(`bench/${name}`), curve, name)
})
