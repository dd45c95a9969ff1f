import type { PrivateServer } from './private-process.ts'

/** A primary and a standby that follows it. */
export interface Replicated {
  readonly primary: PrivateServer
  readonly standby: PrivateServer
  /** Cuts the standby off: from now on it falls behind. */
  cutReplication (): void
  /** Waits until the standby has everything that the primary has committed. */
  caughtUp (): Promise<void>
  /** From now on nothing is committed before the standby has it. */
  waitForStandby (): Promise<void>
  /** Makes the standby a primary, beside the other one. */
  promote (): Promise<unknown>
  /** Kills the primary and makes the standby the new one. */
  failOver (): Promise<void>
}
