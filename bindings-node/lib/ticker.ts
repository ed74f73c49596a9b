import * as args from './arguments'
import { signalOf, type RunOptions } from './consumer'
import { guard, guardSync, localError } from './errors'
import { Timestamp } from './message'
import { NativeTicker } from './native'

/** How often the runner does what, all in seconds. */
export interface TickerOptions {
  /** Between ticks while events flow. Default 0.01. */
  tickInterval?: number
  /** Between ticks when nothing is new; reached by doubling. Default 1. */
  tickIntervalMax?: number
  /** Between looks for due retries. Default 1. */
  retryInterval?: number
  /** Between maintenance runs. Default 10. */
  maintInterval?: number
  /** Between attempts of a standby to take over. Default 1. */
  standbyInterval?: number
}

/** Where a ticker stands, and what it has done since it was made. */
export interface TickerStats {
  /** `standby`: another one works here. A later version may know others. */
  state: 'stopped' | 'connecting' | 'standby' | 'leading' | (string & {})
  /** Since when the state holds. */
  since: Timestamp
  /** Ticks, over all queues. */
  ticks: number
  /** Messages put back into their queues when their delay was over. */
  retries: number
  /** Tables that were emptied and taken into use. */
  rotations: number
  /** Connections that were lost, or could not be made. */
  reconnects: number
  /** Steps that the server refused, to be tried again. */
  failures: number
  /** The latest of either, else null. */
  lastError: string | null
}

/**
 * Runs ticks, retries and maintenance, without which nothing is delivered.
 *
 * Many may run for one database; one works, the others stand by. Needs the role `pgque_admin`.
 */
export class Ticker {
  readonly #native: NativeTicker
  #running = false

  /** Connects only when run. */
  constructor(dsn: string, options?: TickerOptions) {
    const op = 'ticker'
    const target = args.text(op, 'dsn', dsn)
    const named = args.namedOptions(op, args.record(op, 'options', options))
    this.#native = guardSync(op, () => new NativeTicker(target, named))
  }

  /** Works, or stands by, until `stop`. A pending run keeps the process alive. */
  async run(options?: RunOptions): Promise<void> {
    const signal = signalOf(options)
    if (this.#running) throw localError('conflict', 'run', 'this ticker is running already')
    if (signal?.aborted) return
    const stop = () => this.stop()
    this.#running = true
    signal?.addEventListener('abort', stop)
    try {
      await guard('run', () => this.#native.run())
    } finally {
      signal?.removeEventListener('abort', stop)
      this.#running = false
    }
  }

  /** Ends the current or the next run at once. */
  stop(): void {
    this.#native.stop()
  }

  /** Where the ticker stands and what it has done; readable at any time. */
  stats(): TickerStats {
    const { since, ...stats } = guardSync('stats', () => this.#native.stats())
    return { ...stats, since: new Timestamp(since) }
  }
}
