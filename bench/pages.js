#!/usr/bin/env node
// Writes the figures of results.json into the pages of the docs, and the table of docs/scaling.md. test/package/figures.ts checks them.
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { figures } from './figures.js'
import { sizingTable } from './sizing.js'

const root = new URL('../', import.meta.url)
const [begin, end] = ['<!-- sizing: made by node bench/pages.js -->\n', '<!-- end of sizing -->']

/** The pages that have figures, by their path. */
export const pages = ['docs/benchmarks.md', 'docs/scaling.md', 'docs/stores.md']

/**
 * Returns a page with the figures of these results, and what of its text has no figure of ours.
 *
 * @throws {Error} for a sentence with figures that the page does not have, or has twice.
 */
export function withFigures (page, text, results) {
  let written = page === 'docs/scaling.md' ? withTable(text, results) : text
  let rest = written.replace(new RegExp(`${begin}[^]*${end}`), '')
  for (const { texts, values } of figures(results)[page]) {
    const pattern = new RegExp(texts.map(escaped).join('([\\d.,]+)'), 'g')
    const { length } = [...written.matchAll(pattern)]
    if (length !== 1) throw new Error(`${page} has this sentence ${length} times: ${texts.join('…')}`)
    const parts = texts.map(part => new RegExp(escaped(part)))
    written = written.replace(pattern, found => withValues(found, parts, values))
    rest = rest.replace(pattern, '')
  }
  return { written, rest }
}

/** Spaces may be line breaks on the page. */
function escaped (text) {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replace(/ /g, '\\s+')
}

function withValues (found, parts, values) {
  let rest = found
  let written = ''
  for (const [place, part] of parts.entries()) {
    const { 0: own, index } = part.exec(rest)
    written += (place > 0 ? values[place - 1] : '') + own
    rest = rest.slice(index + own.length)
  }
  return written
}

function withTable (text, results) {
  const [from, to] = [text.indexOf(begin), text.indexOf(end)]
  if (from < 0 || to < from) throw new Error('docs/scaling.md has no place for the table')
  return `${text.slice(0, from)}${begin}\n${sizingTable(results)}\n${text.slice(to)}`
}

/** Writes the pages anew. */
export function writePages (results) {
  for (const page of pages) {
    const file = new URL(page, root)
    writeFileSync(file, withFigures(page, readFileSync(file, 'utf8'), results).written)
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writePages(JSON.parse(readFileSync(new URL('results.json', import.meta.url), 'utf8')))
}
