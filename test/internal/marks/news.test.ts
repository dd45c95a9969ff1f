import t from 'tap'
import { isNews } from '../../../lib/internal/marks/news.ts'
import type { MarkRow } from '../../../lib/internal/marks/row.ts'

function row (given: Partial<MarkRow> = {}): MarkRow {
  return { id: 'ualice', issuer: '', tenant: '', except: '', cutoff: 10, until: 1, ...given }
}

t.test('a cutoff revokes something more unless a later one of the same subject covers it', async t => {
  t.equal(isNews(row(), []), true)
  t.equal(isNews(row(), [row({ cutoff: 9 })]), true)
  for (const cutoff of [10, 11]) t.equal(isNews(row(), [row({ cutoff })]), false)
  for (const other of [{ id: 'ubob' }, { issuer: 'i' }, { tenant: 'v' }]) t.equal(isNews(row(), [row(other)]), true)
})

t.test('a cutoff that leaves a session alone covers another one only if that leaves the same one alone', async t => {
  t.equal(isNews(row(), [row({ except: 's' })]), true)
  t.equal(isNews(row({ except: 's' }), [row({ except: 's' })]), false)
  t.equal(isNews(row({ except: 's' }), [row({ except: 'other' })]), true)
  t.equal(isNews(row({ except: 's' }), [row()]), false)
})

t.test('two cutoffs that leave different sessions alone leave none alone together', async t => {
  t.equal(isNews(row(), [row({ except: 'one' }), row({ except: 'two' })]), false)
  t.equal(isNews(row({ except: 'three' }), [row({ except: 'one' }), row({ except: 'two' })]), false)
})
