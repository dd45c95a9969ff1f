// Makes the relative links of README.md absolute, for npm, which shows it without the files beside it. The release does this:
//   node .ci/absolute-links.js https://github.com/owner/name v1.2.3
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

// Code comes first, so that a link within it stays as it is.
const codeOrLink = /^```.*?^```$|`[^`\n]+`|(!?)(\[[^\]]*\])\(([^()\s]+)\)/gms

/**
 * @param {string} text
 * @param {string} repository the URL of the repository
 * @param {string} ref the tag or commit whose files the links show
 * @throws {Error} for a link to a file that does not exist
 */
export function withAbsoluteLinks (text, repository, ref) {
  return text.replace(codeOrLink, (whole, image, label, target) => {
    if (target === undefined || /^(?:[a-z]+:|#)/i.test(target)) return whole
    const path = target.split('#', 1)[0]
    const isFolder = statSync(path).isDirectory()
    const kind = image === '!' ? 'raw' : isFolder ? 'tree' : 'blob'
    return `${image}${label}(${repository}/${kind}/${ref}/${target})`
  })
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [repository = '', ref = ''] = process.argv.slice(2)
  if (!URL.canParse(repository) || ref === '') throw new Error('node .ci/absolute-links.js <URL of the repository> <tag>')
  writeFileSync('README.md', withAbsoluteLinks(readFileSync('README.md', 'utf8'), repository, ref))
}
