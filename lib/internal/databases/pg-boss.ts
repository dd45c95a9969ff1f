import { createHash } from 'node:crypto'
import type { DeadDelivery, Delivery } from '../../delivery-queue.ts'
import { asNew } from '../records/delivery.ts'

/** What runs statements for pg-boss: its own pool, or a transaction of the host. */
export interface PgBossDatabase {
  /** Runs one statement with its values and resolves to its rows. */
  executeSql (text: string, values: unknown[]): Promise<{ rows: Array<Record<string, unknown>> }>
}

/** A job of pg-boss, as far as a delivery needs it. */
export interface PgBossJob {
  readonly id: string
  readonly data: unknown
  readonly retryCount: number
}

/** PgBoss 10 to 12, as far as deliveries need it. */
export interface PgBossClient {
  /** Makes a queue. Does nothing if it is there. */
  createQueue (name: string): Promise<unknown>
  /** Resolves to the queue, or to `null`. */
  getQueue (name: string): Promise<unknown>
  /** Adds jobs, all or none: `(name, jobs, options)`, and in version 10 `(jobs, options)`. */
  insert (...values: never[]): Promise<unknown>
  /** Takes jobs that are due. */
  fetch (name: string, options: { batchSize: number, includeMetadata: true }): Promise<PgBossJob[]>
  /** Forgets a job. */
  deleteJob (name: string, id: string): Promise<unknown>
  /** Returns the database of pg-boss. */
  getDb (): PgBossDatabase
}

/** A delivery in hand. Only the worker that was handed it out last can give it back. */
export interface ClaimedDelivery {
  readonly delivery: Delivery
  readonly jobId: string
  /** Counts how often it was handed out. */
  readonly claim: number
}

/** A queue of pg-boss, and the schema of its tables. */
export interface PgBossPlace {
  readonly boss: PgBossClient
  readonly name: string
  readonly schema: string
}

interface Content {
  readonly delivery: Delivery
  /** Why it is dead. */
  readonly reason?: string
}

/** In the future for ever: a job of pg-boss that waits until then is neither handed out nor deleted. */
const never = "'9999-12-31'::timestamptz"
/** pg-boss forgets what has waited for longer. */
const longest = "interval '30 days'"

/**
 * The statements that pg-boss has no function for: it cannot give a job back with other data or at a chosen time, nor list
 * jobs by their state in all versions. The columns are the same from version 10 to 12.
 */
export function pgBossJobs (place: PgBossPlace) {
  const run = statements(place)
  return { ...handing(place, run), ...deadJobs(run) }
}

/** Runs a statement about the jobs of a queue, whose name is its first value. */
type RunStatement = (text: string, ...values: unknown[]) => Promise<ReadonlyArray<Readonly<Record<string, unknown>>>>

function statements ({ boss, name, schema }: PgBossPlace): RunStatement {
  return async (text, ...values) => {
    const { rows } = await boss.getDb().executeSql(text.replace('<job>', `${schema}.job`), [name, ...values])
    return rows
  }
}

/** What happens to the jobs that wait and that are in hand. */
function handing ({ boss, name }: PgBossPlace, run: RunStatement) {
  return {
    /** Adds deliveries whose ids are not there, all or none. */
    async add (deliveries: readonly Delivery[], db: PgBossDatabase | undefined): Promise<void> {
      const unique = new Map(deliveries.map(delivery => [jobId(delivery.id), delivery]))
      const jobs = Array.from(unique, ([id, delivery]) => newJob(name, id, delivery))
      const added = await insert(boss, { name, jobs, db })
      // Version 10 ignores jobs for a queue that is not there.
      if (isNothing(added) && isNothing(await boss.getQueue(name))) {
        throw new Error(`the queue ${name} of pg-boss is missing: run migrate()`)
      }
    },

    async claim (most: number): Promise<ClaimedDelivery[]> {
      const jobs = await boss.fetch(name, { batchSize: most, includeMetadata: true })
      return jobs.map(({ id, data, retryCount }) => ({ delivery: (data as Content).delivery, jobId: id, claim: retryCount }))
    },

    async forget ({ jobId }: ClaimedDelivery): Promise<void> {
      await boss.deleteJob(name, jobId)
    },

    /** Gives a delivery back, as it is now, until a time in epoch milliseconds. */
    async giveBack ({ jobId, claim }: ClaimedDelivery, delivery: Delivery, at: number): Promise<void> {
      await run(`UPDATE <job> SET state = 'retry', data = $4, start_after = to_timestamp($5 / 1000.0),
        keep_until = to_timestamp($5 / 1000.0) + ${longest}
        WHERE name = $1 AND id = $2 AND retry_count = $3 AND state = 'active'`, jobId, claim, content({ delivery }), at)
    },

    /** Gives back what is in hand for longer than this, in milliseconds: its process died. */
    async giveBackLost (timeout: number): Promise<void> {
      await run(`UPDATE <job> SET state = 'retry', start_after = now()
        WHERE name = $1 AND state = 'active' AND started_on < now() - $2 * interval '1 millisecond'`, timeout)
    }
  }
}

/** What happens to the jobs that are dead. */
function deadJobs (run: RunStatement) {
  return {
    /** Keeps a delivery that is not handed out any more. */
    async bury ({ jobId, claim, delivery }: ClaimedDelivery, reason: string): Promise<void> {
      await run(`UPDATE <job> SET state = 'created', data = $4, start_after = ${never}, keep_until = ${never}
        WHERE name = $1 AND id = $2 AND retry_count = $3 AND state = 'active'`, jobId, claim, content({ delivery, reason }))
    },

    async dead (limit: number, after: string | undefined): Promise<DeadDelivery[]> {
      const rows = await run(`SELECT data FROM <job> WHERE name = $1 AND state = 'created' AND data->>'reason' IS NOT NULL AND id > $2
        ORDER BY id LIMIT $3`, after === undefined ? '00000000-0000-0000-0000-000000000000' : jobId(after), limit)
      return rows.map(({ data }) => {
        const { delivery, reason } = data as Required<Content>
        return { delivery, reason }
      })
    },

    /** Hands a dead delivery out again. Of several callers, one gets `true`. */
    async unbury (id: string): Promise<boolean> {
      const isDead = "name = $1 AND id = $2 AND state = 'created' AND data->>'reason' IS NOT NULL"
      const [row] = await run(`SELECT data FROM <job> WHERE ${isDead}`, jobId(id))
      if (row === undefined) return false
      const delivery = asNew((row['data'] as Content).delivery)
      const changed = await run(`UPDATE <job> SET data = $3, start_after = now(), keep_until = now() + ${longest}
        WHERE ${isDead} RETURNING id`, jobId(id), content({ delivery }))
      return changed.length > 0
    }
  }
}

/** What can be done with the jobs of a queue. */
export type PgBossJobs = ReturnType<typeof pgBossJobs>

/** The id of a job is a UUID: the digest of the delivery's id, marked as a UUID of version 8. */
function jobId (id: string): string {
  const hex = createHash('sha256').update(id).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}

function content (value: Content): string {
  return JSON.stringify(value)
}

/** pg-boss itself gives up neither a delivery that is often handed out, nor one that is in hand for long: the queue decides. */
function newJob (name: string, id: string, delivery: Delivery) {
  return { name, id, data: { delivery } satisfies Content, retryLimit: 1_000_000, expireInSeconds: 3600 }
}

interface NewJobs {
  readonly name: string
  readonly jobs: ReadonlyArray<ReturnType<typeof newJob>>
  readonly db: PgBossDatabase | undefined
}

async function insert (boss: PgBossClient, { name, jobs, db }: NewJobs): Promise<unknown> {
  const options = db === undefined ? {} : { db }
  try {
    return await boss.insert(...[name, jobs, options] as never[])
  } catch (error) {
    if (!(error instanceof Error) || error.message !== 'jobs argument should be an array') throw error
    return boss.insert(...[jobs, options] as never[])
  }
}

function isNothing (value: unknown): boolean {
  return value === undefined || value === null
}
