import { inspect } from 'node:util'

import * as args from './arguments'
import type { Interval } from './arguments'
import { guard, guardSync, invalid, localError } from './errors'
import { log } from './logger'
import { Message } from './message'
import { NativeConsumer, verdictCodes, type NativeBatch, type VerdictDetail } from './native'
import { ack, retry, Verdict } from './verdict'

export interface ConsumerOptions {
  queue: string
  /** The consumer's name; it must be subscribed, unless it is cooperative. */
  name: string
  /** Seconds to wait for a notification before looking anyway. Default 30. */
  pollInterval?: number
  /** The largest batch to accept; a larger one is an overflow error. Default 2147483647. */
  maxMessages?: number
  /** The delay of a failed message. Default 60 seconds. */
  retryAfter?: Interval
  /** What becomes of a message whose type has no handler. Default `nack`. */
  unknownHandlerPolicy?: 'nack' | 'ack'
  /** The name of this worker among those that share the consumer. Default none: not cooperative. */
  subconsumer?: string
  /** Take over the batch of a worker that was silent for so long. Default never. */
  deadInterval?: Interval
}

export interface RunOptions {
  /** Stops the run when it is aborted; the run then ends without an error. */
  signal?: AbortSignal
}

/**
 * Handles a message; may be async. What it throws has the message delivered again, with the error's text as the
 * reason. `retry(…)` and `dead(…)` say more; any other result means done.
 */
export type Handler = (message: Message) => unknown

/** A large batch is handed to the handlers in pieces of this many messages. */
const WINDOW = 1000
/** How long handlers that never wait may hold up timers, signals and everything else. */
const TURN_MS = 20

const CODES = verdictCodes()

/**
 * Receives batches, calls the handler of each message's type, and finishes the batches.
 *
 * Delivery is at least once: a batch that was not finished, for whatever reason, comes again. A lost connection is
 * replaced for as long as it takes; errors that time cannot mend end the run.
 */
export class Consumer {
  readonly #native: NativeConsumer
  readonly #logger: string
  readonly #handlers: Handler[] = []
  #running = false

  /** Connects only when run. */
  constructor(dsn: string, options: ConsumerOptions) {
    const op = 'consumer'
    const { queue, name, ...rest } = args.record(op, 'options', options)
    const target = args.text(op, 'dsn', dsn)
    const names = [args.text(op, 'queue', queue), args.text(op, 'name', name)] as const
    this.#native = guardSync(op, () => new NativeConsumer(target, ...names, args.namedOptions(op, rest)))
    this.#logger = `pgque.consumer.${names[1]}`
  }

  /** Names the handler of a type, `*` for all that have none of their own. A second one replaces the first. */
  on(type: string, handler: Handler): this {
    if (typeof handler !== 'function')
      throw invalid('on', `handler must be a function, got ${inspect(handler)}`)
    const eventType = args.text('on', 'type', type)
    this.#handlers[guardSync('on', () => this.#native.on(eventType))] = handler
    return this
  }

  /**
   * Handles messages until `stop`. A pending run keeps the process alive.
   *
   * One run at a time: a second one fails with `conflict`.
   */
  async run(options?: RunOptions): Promise<void> {
    const signal = signalOf(options)
    if (this.#running) throw localError('conflict', 'run', 'this consumer is running already')
    if (signal?.aborted) return
    const stop = () => this.stop()
    this.#running = true
    signal?.addEventListener('abort', stop)
    try {
      await this.#loop()
    } finally {
      signal?.removeEventListener('abort', stop)
      await guard('run', () => this.#native.close())
      this.#running = false
    }
  }

  /** Ends the run: at once if it waits, else after the batch in hand. Before a run, the next one ends at once. */
  stop(): void {
    this.#native.stop()
  }

  async #loop(): Promise<void> {
    for (;;) {
      const batch = await guard('run', () => this.#native.next())
      if (!batch) return
      const codes = new Uint8Array(batch.length)
      const details: VerdictDetail[] = []
      await this.#judge(batch, codes, details)
      await guard('run', () => this.#native.finish(batch, codes, details))
    }
  }

  async #judge(batch: NativeBatch, codes: Uint8Array, details: VerdictDetail[]): Promise<void> {
    const routes = batch.handlers()
    let turn = performance.now()
    for (let start = 0; start < routes.length; start += WINDOW) {
      const columns = batch.columns(start, start + WINDOW)
      for (let row = 0; row < columns.payloads.length; row++) {
        const index = start + row
        const handler = this.#handlers[routes[index]]
        if (handler === undefined) continue
        const { verdict, after, reason } = await this.#handle(handler, new Message(columns, row))
        codes[index] = CODES[verdict]
        if (after !== undefined || reason !== undefined) details.push({ index, after, reason })
        if (performance.now() - turn > TURN_MS) {
          await new Promise((resolve) => setImmediate(resolve))
          turn = performance.now()
        }
      }
    }
  }

  async #handle(handler: Handler, message: Message): Promise<Verdict> {
    try {
      const outcome = await handler(message)
      return outcome instanceof Verdict ? checked(outcome) : DONE
    } catch (error) {
      log('error', this.#logger, `handler failed for msg_id=${message.msgId}, nacking: ${shown(error)}`)
      return retry({ reason: reasonOf(error) })
    }
  }
}

const DONE = ack()

/** A verdict that cannot be understood is the handler's failure. */
function checked(verdict: Verdict): Verdict {
  const after = args.maybeInterval('run', 'after', verdict.after)
  const reason = args.maybeText('run', 'reason', verdict.reason) ?? undefined
  return new Verdict(verdict.verdict, after, reason)
}

function reasonOf(error: unknown): string {
  try {
    const text =
      error instanceof Error
        ? error.message || error.name
        : typeof error === 'string'
          ? error
          : inspect(error)
    return String(text).toWellFormed()
  } catch {
    return UNREADABLE
  }
}

function shown(error: unknown): string {
  try {
    return inspect(error)
  } catch {
    return UNREADABLE
  }
}

/** What was thrown has getters that throw themselves; that must not end the run. */
const UNREADABLE = 'an error that cannot be read'

export function signalOf(options: unknown): AbortSignal | undefined {
  const { signal } = args.options('run', options, ['signal'])
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw invalid('run', 'signal must be an AbortSignal')
  return signal
}
