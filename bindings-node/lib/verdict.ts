import type { Interval } from './arguments'

/** What becomes of a message. */
export class Verdict {
  constructor(
    readonly verdict: 'ack' | 'retry' | 'dead',
    readonly after?: Interval,
    readonly reason?: string,
  ) {}
}

/** Done. A handler that returns nothing says the same. */
export const ack = (): Verdict => new Verdict('ack')

/** Deliver it again after a delay; past the queue's `max_retries` it is dead-lettered with the reason. */
export const retry = (options: { after?: Interval; reason?: string } = {}): Verdict =>
  new Verdict('retry', options.after, options.reason)

/** Dead-letter it now. */
export const dead = (reason?: string): Verdict => new Verdict('dead', undefined, reason)
