import * as args from './arguments'
import { guard, guardSync } from './errors'
import { interruptible, maybeSignal } from './interrupt'
import { NativeProducer } from './native'
import { eventArguments, type Payload, type SendOptions } from './payload'

export interface ProducerOptions {
  /**
   * Seconds to wait for company once there is something to send. Default 0: what comes while the last batch is on its
   * way is company enough.
   */
  linger?: number
  /** Most events in a batch. Default 1000. */
  batchSizeMax?: number
  /** Most bytes of events in a batch, unless a single one is larger. Default 4 MiB. */
  batchBytesMax?: number
  /** Most events that wait for the next batch; beyond it `send` takes longer. Default 10,000. */
  queueSizeMax?: number
  /** Most bytes of events that are not stored yet; beyond it `send` takes longer. Default 64 MiB. */
  queueBytesMax?: number
  /** Seconds that an event may wait to be sent, also while the server is away. Default 60. */
  sendTimeout?: number
}

export interface CloseOptions {
  /** Seconds after which what is not sent yet is given up. Default never. */
  deadline?: number
}

/** Counts since the producer was made, and the newest readings of what goes up and down. */
export interface ProducerStats {
  /** Events stored. */
  sent: number
  /** Events whose `send` failed. */
  failed: number
  /** Events of these of which nobody knows whether they are stored. */
  uncertain: number
  /** Transactions that stored events. */
  batches: number
  /** Events in the newest of them. */
  batchSize: number
  /** Events that are not answered yet. */
  queueLength: number
  /** Connections that were lost, or could not be made. */
  reconnects: number
  lastError: string | null
}

/**
 * Sends what many callers send at the same time in few transactions, and answers each with its own id or error.
 *
 * It has a connection of its own, made for the first event and replaced when it is lost; nothing is sent twice because
 * of that. An idle producer does not keep the process alive; a pending `send` does.
 */
export class Producer {
  readonly #native: NativeProducer
  #signal: AbortSignal | undefined

  /** Connects only for the first event. */
  constructor(dsn: string, options?: ProducerOptions)
  /** @internal */
  constructor(same: NativeProducer)
  constructor(dsn: string | NativeProducer, options?: ProducerOptions) {
    const op = 'producer'
    if (dsn instanceof NativeProducer) {
      this.#native = dsn
      return
    }
    const target = args.text(op, 'dsn', dsn)
    const named = args.namedOptions(op, args.record(op, 'options', options))
    this.#native = guardSync(op, () => new NativeProducer(target, named))
  }

  /**
   * The same producer, whose `send` and `flush` wait no longer when the signal is aborted: an error of kind
   * `interrupted`, with the signal's reason as its `cause`. An event that was accepted is sent all the same.
   */
  withSignal(signal: AbortSignal): Producer {
    const same = new Producer(this.#native)
    same.#signal = maybeSignal('withSignal', signal)
    return same
  }

  /**
   * Sends one event and gives its id once it is stored; arguments are those of `Client.send`. Events of one queue are
   * stored in the order of the calls, also of calls that are not awaited, as long as there is room for them to wait.
   *
   * Fails with `timeout` if it could not be sent in time; it is not stored then. With `error.uncertain` nobody knows, for
   * the connection was lost at the wrong moment.
   */
  async send(queue: string, payload?: Payload, options?: SendOptions): Promise<bigint> {
    const event = eventArguments('send', queue, payload, options)
    return interruptible('send', this.#signal, () => guard('send', () => this.#native.send(...event)))
  }

  /** Waits until everything that was accepted before is answered, well or not. */
  async flush(): Promise<void> {
    await interruptible('flush', this.#signal, () => guard('flush', () => this.#native.flush()))
  }

  /**
   * Accepts nothing more and waits until everything is answered. Twice is fine.
   *
   * What is not sent when the deadline is over fails with `closed`, and this call with `timeout`.
   */
  async close(options?: CloseOptions): Promise<void> {
    const { deadline } = args.options('close', options, ['deadline'])
    const seconds = deadline === undefined ? undefined : args.number('close', 'deadline', deadline)
    await guard('close', () => this.#native.close(seconds))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Counters, readable at any time. */
  stats(): ProducerStats {
    return guardSync('stats', () => this.#native.stats())
  }
}
