import { inspect } from 'node:util'

import * as args from './arguments'
import type { Interval } from './arguments'
import { guard, guardSync, invalid } from './errors'
import {
  Handling,
  type AfterMessage,
  type BatchHandler,
  type BeforeMessage,
  type Callbacks,
  type FailureCallback,
  type Handler,
} from './handling'
import { maybeSignal } from './interrupt'
import { Timestamp } from './message'
import { NativeConsumer } from './native'

export interface ConsumerOptions {
  queue: string
  /** The consumer's name; it must be subscribed, unless it is cooperative. */
  name: string
  /** Seconds to wait for a notification before looking anyway. Default 30. */
  pollInterval?: number
  /**
   * The largest batch to accept; a larger one is an overflow error. Default 2147483647, which is no limit: a large
   * batch is then read in pages, where the engine has them.
   */
  maxMessages?: number
  /** How many messages of a large batch are held at once, 1 to 10000. Default 5000. */
  pageSize?: number
  /** The delay of a failed message. Default 60 seconds. */
  retryAfter?: Interval
  /**
   * `exponential`: the delay doubles with each attempt, up to `retryAfterMax`, less a random part of up to a half.
   * Default `fixed`.
   */
  retryBackoff?: 'fixed' | 'exponential'
  /** The longest delay of exponential back-off, in seconds. Default 3600. */
  retryAfterMax?: number
  /** What becomes of a message whose type has no handler. Default `nack`. */
  unknownHandlerPolicy?: 'nack' | 'ack'
  /**
   * The name of this worker among those that share the consumer; `auto` makes one up, and gives it up again on stop.
   * Default none: not cooperative.
   */
  subconsumer?: string
  /** Take over the batch of a worker that was silent for so long. Default never. */
  deadInterval?: Interval
  /** How many handlers run at once, each with a message of its own, 1 to 1000. Default 1. */
  concurrency?: number
  /** Keep the order of messages of one key, while `concurrency` handlers run. Default none. */
  orderedBy?: 'type' | 'extra1' | 'extra2' | 'extra3' | 'extra4'
  /** What `stop` does with the batch in hand: handles it, or hands back what is not begun. Default `drain`. */
  stopPolicy?: 'drain' | 'handback'
  /** Seconds that `stop` waits for the batch in hand; what is not done by then goes back. Default without limit. */
  stopTimeout?: number
  /** Receive, handlers and acknowledgement are one transaction, and handlers are given its client. Default false. */
  transactional?: boolean
  /** Run a ticker beside the consumer, which needs the role `pgque_admin`. Default false. */
  ticker?: boolean
  /**
   * A direct connection to hear of news and to hold the consumer's turn, where the other leads through a pooler.
   * Default none: behind a pooler the consumer then looks every `pollInterval`, and with `maxMessages`, or on PgQue 0.2,
   * two of its name both get each batch.
   */
  listenDsn?: string
}

export interface RunOptions {
  /** Stops the run when it is aborted; the run then ends without an error. */
  signal?: AbortSignal
}

/** Counts since the consumer was made, and the newest readings of what goes up and down. */
export interface Stats {
  batches: number
  received: number
  /** Messages that are done. */
  handled: number
  /** Messages whose handler failed, whatever became of them. */
  failed: number
  /** Messages that go to the retry queue. */
  retried: number
  /** Messages that go to the dead letters at once. */
  dead: number
  /** Messages that went back unhandled, or whose handlers were still running, at a stop. */
  handedBack: number
  /** Connections made after the first. */
  reconnects: number
  /** Messages in the newest batch or page. */
  batchSize: number
  /** Time in handlers, summed over all of them. */
  handlerSeconds: number
  /** Events between the newest batch and the newest tick, looked at every ten seconds; 0 once there is nothing. */
  lagEvents: number
  /** Age of the newest message of the newest batch when it arrived; 0 once there is nothing. */
  lagSeconds: number
}

/** How a consumer fares. */
export interface Health {
  /**
   * `standby`: another one of this name is at work; `retrying`: waits after a failure. A later version may know
   * others.
   */
  status: 'stopped' | 'connecting' | 'retrying' | 'standby' | 'idle' | 'handling' | (string & {})
  /** Whether the loop works: it waits for messages, for its turn, or handles some. */
  alive: boolean
  /** Since when the status holds. */
  since: Timestamp
  /** The newest failure of the loop, and its time, else null. Handlers' failures are only counted. */
  lastError: string | null
  lastErrorAt: Timestamp | null
}

/**
 * Receives batches, calls the handler of each message's type, and finishes the batches.
 *
 * Delivery is at least once: a batch that was not finished, for whatever reason, comes again. A lost connection is
 * replaced for as long as it takes; errors that time cannot mend end the run. Of several consumers of one name, in
 * whatever processes, one works and the others stand by.
 */
export class Consumer {
  readonly #native: NativeConsumer
  readonly #logger: string
  readonly #callbacks: Callbacks = { handlers: [] }
  readonly #ordered: boolean

  /** Connects only when run. */
  constructor(dsn: string, options: ConsumerOptions) {
    const op = 'consumer'
    const { queue, name, ...rest } = args.record(op, 'options', options)
    const target = args.text(op, 'dsn', dsn)
    const names = [args.text(op, 'queue', queue), args.text(op, 'name', name)] as const
    this.#native = guardSync(op, () => new NativeConsumer(target, ...names, args.namedOptions(op, rest)))
    this.#logger = `pgque.consumer.${names[1]}`
    this.#ordered = (rest.orderedBy ?? null) !== null
  }

  /** Names the handler of a type, `*` for all that have none of their own. A second one replaces the first. */
  on(type: string, handler: Handler): this {
    callable('on', 'handler', handler)
    const eventType = args.text('on', 'type', type)
    this.#callbacks.handlers[guardSync('on', () => this.#native.on(eventType))] = handler
    return this
  }

  /** Names the handler that gets whole batches, in place of handlers by type. A second one replaces the first. */
  onBatch(handler: BatchHandler): this {
    callable('on_batch', 'handler', handler)
    guardSync('on_batch', () => this.#native.onBatch())
    this.#callbacks.batch = handler
    return this
  }

  /** Names the callback that decides on failures. A second one replaces the first. */
  onFailure(callback: FailureCallback): this {
    this.#callbacks.failure = callable('on_failure', 'callback', callback)
    return this
  }

  /**
   * Names what is called, and awaited, before each message that a handler gets, in the asynchronous context of the
   * handler: `AsyncLocalStorage.enterWith` reaches it. What it throws is logged and changes nothing.
   */
  beforeMessage(hook: BeforeMessage): this {
    this.#callbacks.before = callable('before_message', 'hook', hook)
    return this
  }

  /** The same after each message that a handler had, with what came of it and the seconds that it took. */
  afterMessage(hook: AfterMessage): this {
    this.#callbacks.after = callable('after_message', 'hook', hook)
    return this
  }

  /**
   * Handles messages until `stop`. A pending run keeps the process alive.
   *
   * One run at a time: a second one fails with `conflict`.
   */
  async run(options?: RunOptions): Promise<void> {
    const signal = signalOf(options)
    if (signal?.aborted) return
    guardSync('run', () => this.#native.beginRun())
    const stop = () => this.stop()
    signal?.addEventListener('abort', stop)
    try {
      await this.#loop()
    } finally {
      signal?.removeEventListener('abort', stop)
      await guard('run', () => this.#native.close())
    }
  }

  /**
   * Ends the run: at once if it waits, else as `stopPolicy` and `stopTimeout` say. Before a run, the next one ends at
   * once. A second call forces: nothing more is handled, and no handler waited for.
   */
  stop(): void {
    this.#native.stop()
  }

  /** Counters, readable at any time. */
  stats(): Stats {
    return guardSync('stats', () => this.#native.stats())
  }

  /** Whether the loop is alive, since when, and its last error; readable at any time. */
  health(): Health {
    const { since, lastErrorAt, ...facts } = guardSync('health', () => this.#native.health())
    const failedAt = lastErrorAt === null ? null : new Timestamp(lastErrorAt)
    return { ...facts, since: new Timestamp(since), lastErrorAt: failedAt }
  }

  async #loop(): Promise<void> {
    let handling: Handling | undefined
    // Once for the run: waiting anew for each batch would leave a promise behind each time.
    const overdue = guard('run', () => this.#native.overdue())
    void overdue.catch(() => {}).then(() => handling?.giveUp())
    for (;;) {
      const batch = await guard('run', () => this.#native.nextBatch())
      if (!batch) return
      handling = new Handling(this.#native, batch, this.#callbacks, this.#logger, this.#ordered)
      await handling.run()
      await guard('run', () => this.#native.finish(batch))
    }
  }
}

function callable<T>(op: string, name: string, value: T): T {
  if (typeof value !== 'function') throw invalid(op, `${name} must be a function, got ${inspect(value)}`)
  return value
}

export function signalOf(options: unknown): AbortSignal | undefined {
  const { signal } = args.options('run', options, ['signal'])
  return maybeSignal('run', signal)
}
