/** One batch on its way through the handlers; what follows from their answers is the core's to say. */
import { AsyncResource } from 'node:async_hooks'
import { inspect } from 'node:util'

import * as args from './arguments'
import type { Interval } from './arguments'
import { Client, type Lease } from './client'
import { guard, invalid } from './errors'
import { log } from './logger'
import { Message, messages } from './message'
import type { Columns, NativeBatch, NativeClient, NativeConsumer } from './native'
import { ack, retry, Verdict } from './verdict'

/**
 * Handles a message; may be async. What it throws has the message delivered again, with the error's text as the
 * reason. `retry(…)` and `dead(…)`, returned or thrown, say more; any other result means done.
 *
 * In transactional mode, and only then, `client` belongs to the transaction that the acknowledgement is part of. It is
 * for this call only and cannot begin, commit, roll back or close anything.
 */
export type Handler = (message: Message, client?: Client) => unknown

/**
 * Handles a batch, or a page of a large one; may be async. It answers a verdict for each message: an array by position,
 * or a Map by message or `msgId`, where `true` means done. A message without a verdict has failed. If it throws, all
 * have, or what it throws is the verdict on all.
 */
export type BatchHandler = (messages: Message[], client?: Client) => BatchAnswer | Promise<BatchAnswer>

/** What becomes of a message of a batch; nothing means that it failed. */
export type BatchVerdict = Verdict | boolean | null | undefined
export type BatchAnswer =
  readonly BatchVerdict[] | ReadonlyMap<bigint, BatchVerdict> | ReadonlyMap<Message, BatchVerdict>

/**
 * Decides on a failure; may be async. Gets the number of the attempt, from 1, and what was thrown. A delay or a
 * verdict counts in place of `retryAfter` and `retryBackoff`; nothing leaves it to them.
 */
export type FailureCallback = (attempt: number, error: unknown) => FailureAnswer | Promise<FailureAnswer>
export type FailureAnswer = Interval | Verdict | null | undefined | void

/** What a handler made of a message. */
export type Outcome = 'ack' | 'retry' | 'dead' | 'failed'

export type BeforeMessage = (message: Message) => unknown
export type AfterMessage = (message: Message, outcome: Outcome, seconds: number) => unknown

/** Everything of the user's that is called for messages. */
export interface Callbacks {
  /** By number. */
  readonly handlers: Handler[]
  batch?: BatchHandler
  failure?: FailureCallback
  before?: BeforeMessage
  after?: AfterMessage
}

/** The messages of a large batch are copied in pieces of this many. */
const WINDOW = 1000
/** How long handlers that never wait may hold up timers, signals and everything else. */
const TURN_MS = 20

/** What a handler threw that is not a verdict. */
class Failure {
  #told: boolean

  /** `told`: the log need not say where it was thrown. */
  constructor(
    readonly error: unknown,
    told = false,
  ) {
    this.#told = told
  }

  /** The reason that is kept with the message. */
  get text(): string {
    return reasonOf(this.error)
  }

  /** What the log says: the stack, once, though it may be the failure of thousands of messages. */
  tell(): string {
    const withStack = !this.#told && this.error instanceof Error
    this.#told = true
    return withStack ? shown(this.error) : this.text
  }
}

/** A verdict that cannot be understood is the handler's failure; the stack would be ours. */
const refusal = (error: unknown) => new Failure(error, true)

const DONE = ack()

export class Handling {
  readonly #native: NativeConsumer
  readonly #batch: NativeBatch
  readonly #callbacks: Callbacks
  readonly #logger: string
  readonly #window: Window
  readonly #routes: Int32Array
  readonly #transaction: NativeClient | null
  #turn = performance.now()
  #over = false
  #lease: Lease = { over: true }
  #giveUp = () => {}

  /** `ordered`: messages are not taken in the order of the batch. */
  constructor(
    native: NativeConsumer,
    batch: NativeBatch,
    callbacks: Callbacks,
    logger: string,
    ordered: boolean,
  ) {
    this.#native = native
    this.#batch = batch
    this.#callbacks = callbacks
    this.#logger = logger
    // Where one message's neighbours are not the next to come, copying them would be in vain.
    this.#window = new Window(batch, ordered ? 1 : WINDOW)
    this.#routes = batch.handlers()
    this.#transaction = batch.client()
  }

  /** Ends when the handlers have, or are given up. */
  async run(): Promise<void> {
    const givenUp = new Promise<void>((resolve) => (this.#giveUp = resolve))
    try {
      await Promise.race([this.#handlers(), givenUp])
    } finally {
      // A handler that was given up goes on, but its lane must not; nor is the transaction its own any longer.
      this.#over = true
      this.#lease.over = true
    }
  }

  giveUp(): void {
    this.#giveUp()
  }

  async #handlers(): Promise<void> {
    if (this.#callbacks.batch) return this.#inContext(() => this.#whole(this.#callbacks.batch!))
    await Promise.all(Array.from({ length: this.#batch.lanes }, () => this.#lane()))
  }

  async #lane(): Promise<void> {
    let done: number | null = null
    while (!this.#over) {
      const index = await this.#take(done)
      if (typeof index !== 'number') return
      if (performance.now() - this.#turn > TURN_MS) await this.#breathe()
      done = (await this.#inContext(() => this.#one(index))) ? index : null
    }
  }

  /** The next message. The one before is settled with the same call if it is simply done. */
  #take(done: number | null): number | null | Promise<number | null | undefined> {
    if (this.#transaction === null) return this.#batch.take(done)
    return guard('run', () => this.#native.take(this.#batch, done))
  }

  /** Handles one message; true if it is done, which then is still to be told. */
  async #one(index: number): Promise<boolean> {
    const { handlers, before, after, failure } = this.#callbacks
    const message = this.#window.message(index)
    if (before) await this.#hook('before_message', () => before(message))
    if (this.#over) return false
    const started = performance.now()
    const outcome = outcomeOf(await this.#call((client) => handlers[this.#routes[index]](message, client)))
    if (this.#over) return false
    if (outcome === DONE && !after) return true
    this.#settle(index, outcome)
    const seconds = (performance.now() - started) / 1000
    if (after) await this.#hook('after_message', () => after(message, nameOf(outcome), seconds))
    if (failure && outcome instanceof Failure) await this.#decide(index, outcome, failure)
    return false
  }

  async #whole(handler: BatchHandler): Promise<void> {
    if (!(await guard('run', () => this.#native.takeAll(this.#batch)))) return
    const { before, after, failure } = this.#callbacks
    const all = messages(this.#batch.columns(0, this.#batch.length))
    if (before) for (const message of all) await this.#hook('before_message', () => before(message))
    if (this.#over) return
    const started = performance.now()
    const answer = await this.#call((client) => handler(all, client))
    if (this.#over) return
    const outcomes = all.map((message, index) => verdictOf(answer, message, index))
    // What has no verdict stays unsettled: it is the core that counts it as failed.
    outcomes.forEach((outcome, index) => outcome && this.#settle(index, outcome))
    const seconds = (performance.now() - started) / 1000
    for (const [index, outcome] of outcomes.entries()) {
      if (performance.now() - this.#turn > TURN_MS) await this.#breathe()
      if (after) await this.#hook('after_message', () => after(all[index], nameOf(outcome), seconds))
      if (failure && outcome instanceof Failure) await this.#decide(index, outcome, failure)
    }
  }

  /** Calls a handler; what it threw becomes a `Failure`. */
  async #call(handler: (client?: Client) => unknown): Promise<unknown> {
    try {
      return await (this.#transaction ? handler(this.#lend(this.#transaction)) : handler())
    } catch (error) {
      return error instanceof Verdict ? error : new Failure(error)
    } finally {
      this.#lease.over = true
    }
  }

  /** For one call: a transaction has one lane. */
  #lend(transaction: NativeClient): Client {
    this.#lease = { over: false }
    return new Client(transaction, this.#lease)
  }

  #settle(index: number, outcome: Verdict | Failure): void {
    if (outcome instanceof Failure) this.#batch.fail(index, outcome.text, outcome.tell())
    else this.#batch.settle(index, outcome.verdict, outcome.after, outcome.reason)
  }

  /** What the callback says replaces what the failure was settled with. */
  async #decide(index: number, failure: Failure, decide: FailureCallback): Promise<void> {
    await this.#hook('on_failure', async () => {
      const answer = (await decide(this.#batch.attempt(index), failure.error)) ?? undefined
      if (answer === undefined || this.#over) return
      const verdict = answer instanceof Verdict ? answer : retry({ after: answer as Interval })
      const { after, reason } = checked(verdict)
      this.#settle(index, new Verdict(verdict.verdict, after, reason ?? failure.text))
    })
  }

  /** A hook that fails is told of, and changes nothing. */
  async #hook(name: string, call: () => unknown): Promise<void> {
    try {
      await call()
    } catch (error) {
      log('error', this.#logger, `hook ${name} failed: ${shown(error)}`)
    }
  }

  /** With hooks around it a message has an asynchronous context of its own, which a tracer may enter. */
  #inContext<T>(work: () => Promise<T>): Promise<T> {
    const { before, after } = this.#callbacks
    return before || after ? new AsyncResource('PGQUE_MESSAGE').runInAsyncScope(work) : work()
  }

  /** Lets everything else have its turn. */
  async #breathe(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    this.#turn = performance.now()
  }
}

/** A part of a batch, moved on as its messages are asked for. */
class Window {
  #start = 0
  #columns: Columns | null = null

  constructor(
    readonly batch: NativeBatch,
    readonly size: number,
  ) {}

  message(index: number): Message {
    let columns = this.#columns
    if (columns === null || index < this.#start || index >= this.#start + this.size) {
      columns = this.#columns = this.batch.columns(index, index + this.size)
      this.#start = index
    }
    return new Message(columns, index - this.#start)
  }
}

function outcomeOf(answer: unknown): Verdict | Failure {
  if (answer instanceof Failure) return answer
  if (!(answer instanceof Verdict)) return DONE
  try {
    return checked(answer)
  } catch (error) {
    return refusal(error)
  }
}

/** What the answer of a handler of batches says about one message; nothing if it leaves it out. */
function verdictOf(answer: unknown, message: Message, index: number): Verdict | Failure | undefined {
  if (answer instanceof Failure || answer instanceof Verdict) return outcomeOf(answer)
  if (answer === undefined || answer === null) return undefined
  let verdict: unknown
  if (answer instanceof Map) verdict = answer.get(message.msgId) ?? answer.get(message)
  else if (Array.isArray(answer)) verdict = answer[index]
  else return refusal(invalid('run', `the verdicts must be an array or a Map, got ${shown(answer)}`))
  if (verdict === undefined || verdict === null || verdict === false) return undefined
  if (verdict === true || verdict instanceof Verdict) return outcomeOf(verdict)
  return refusal(invalid('run', `a verdict is true, ack(), retry() or dead(), got ${shown(verdict)}`))
}

function nameOf(outcome: Verdict | Failure | undefined): Outcome {
  return outcome instanceof Verdict ? outcome.verdict : 'failed'
}

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
