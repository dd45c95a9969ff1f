import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** A page for readers, by its path in the repository. */
export interface Page {
  readonly path: string
  readonly text: string
}

/** A fenced block of code, with the number of its first line, and the test that runs it, where the page names one. */
export interface Block {
  readonly page: string
  readonly line: number
  readonly language: string
  readonly code: string
  readonly runBy: string | undefined
}

const reference = join('docs', 'api') // made by TypeDoc, which checks its own links

/** The README, the other pages at the top, and all of `docs/`. */
export function pages (): Page[] {
  const paths = readdirSync('docs', { recursive: true, encoding: 'utf8' })
    .map(name => join('docs', name)).filter(path => !path.startsWith(reference))
  return ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md', ...paths.sort()]
    .filter(path => path.endsWith('.md'))
    .map(path => ({ path, text: readFileSync(path, 'utf8') }))
}

export function blocksOf ({ path, text }: Page): Block[] {
  const found = [...text.matchAll(/^(?:<!-- run by (\S+) -->\n)?```(\w+)\n(.*?)^```$/gms)]
  return found.map(({ 1: runBy, 2: language = '', 3: code = '', index }) => {
    const line = text.slice(0, index).split('\n').length + (runBy === undefined ? 1 : 2)
    return { page: path, line, language, code, runBy }
  })
}

/** The anchors that GitHub makes of the headings of a page. */
export function anchorsOf ({ text }: Page): Set<string> {
  const anchors = new Set<string>()
  for (const [, heading = ''] of withoutCode(text).matchAll(/^#{1,6} (.*)$/gm)) {
    const slug = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').trim().toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-')
    const repeated = [...anchors].filter(anchor => anchor === slug || /-\d+$/.test(anchor.slice(slug.length))).length
    anchors.add(anchors.has(slug) ? `${slug}-${repeated}` : slug)
  }
  return anchors
}

/** The targets of the links and images of a page. */
export function linksOf ({ text }: Page): string[] {
  return [...withoutCode(text).matchAll(/\]\(([^()\s]+(?:\([^)]*\))?)\)/g)].map(([, target = '']) => target)
}

function withoutCode (text: string): string {
  return text.replace(/^```.*?^```$/gms, '').replace(/`[^`\n]*`/g, code => code.replace(/[[\]()#]/g, ' ').replaceAll('`', ''))
}
