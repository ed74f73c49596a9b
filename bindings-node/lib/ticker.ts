import * as args from './arguments'
import { signalOf, type RunOptions } from './consumer'
import { guard, guardSync, localError } from './errors'
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
}
