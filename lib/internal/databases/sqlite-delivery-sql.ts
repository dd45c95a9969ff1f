import { quotedTable } from './sql-table.ts'

/** The statements that create the table of `sqliteDeliveryQueue` if it does not exist. A delivery with a `reason` is dead. */
export function deliveryTable (table: string, caller: string): string {
  const name = quotedTable(table, caller)
  const index = (purpose: string) => `${quotedTable(`${table}_${purpose}_index`, caller)} ON ${name.split('.').at(-1)}`
  return `CREATE TABLE IF NOT EXISTS ${name} (
  id TEXT NOT NULL PRIMARY KEY,
  delivery TEXT NOT NULL,
  due INTEGER NOT NULL,
  claim INTEGER NOT NULL DEFAULT 0,
  reason TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ${index('due')} (due) WHERE reason IS NULL;
CREATE INDEX IF NOT EXISTS ${index('dead')} (id) WHERE reason IS NOT NULL`
}

/** The statements of the queue. A worker that claims a delivery makes it due later: when the worker must be dead. */
export function deliveryStatements (table: string, caller: string) {
  const name = quotedTable(table, caller)
  return {
    enqueue: `INSERT INTO ${name} (id, delivery, due) VALUES (?, ?, ?) ON CONFLICT DO NOTHING RETURNING 1`,
    claim: `UPDATE ${name} SET due = ?, claim = claim + 1
      WHERE id IN (SELECT id FROM ${name} WHERE reason IS NULL AND due <= ? ORDER BY due LIMIT ?) RETURNING id, delivery, claim`,
    nextDue: `SELECT min(due) AS due FROM ${name} WHERE reason IS NULL`,
    done: `DELETE FROM ${name} WHERE id = ? AND claim = ? RETURNING 1`,
    retry: `UPDATE ${name} SET delivery = ?, due = ? WHERE id = ? AND claim = ? RETURNING 1`,
    bury: `UPDATE ${name} SET reason = ? WHERE id = ? AND claim = ? RETURNING 1`,
    dead: `SELECT delivery, reason FROM ${name} WHERE reason IS NOT NULL AND id > ? ORDER BY id LIMIT ?`,
    findDead: `SELECT delivery FROM ${name} WHERE reason IS NOT NULL AND id = ?`,
    revive: `UPDATE ${name} SET delivery = ?, due = ?, reason = NULL WHERE id = ? RETURNING 1`
  }
}
