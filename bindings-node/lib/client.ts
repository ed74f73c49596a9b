import * as args from './arguments'
import type { Interval, Parameter } from './arguments'
import { guard, invalid, localError } from './errors'
import { foreignClient, onConnection, type Queryable } from './foreign'
import { interruptible, maybeSignal } from './interrupt'
import { Message, messages } from './message'
import * as native from './native'
import { bodies, eventArguments, type Payload, type SendOptions, type Text } from './payload'
import { ResultSet } from './result'
import { Verdict } from './verdict'

export interface ConnectOptions {
  /** Off: the first statement opens a transaction that `commit` or `rollback` ends. On by default. */
  autocommit?: boolean
  /** Ends the attempt to connect; see `Client.withSignal` for calls. */
  signal?: AbortSignal
}

export interface ReceiveOptions {
  /** The largest batch to accept; a larger one is an overflow, and nothing is advanced. */
  maxMessages?: number
}

export interface ReceiveCoopOptions extends ReceiveOptions {
  /** Take over the batch of a worker that was silent for so long. */
  deadInterval?: Interval
}

export interface NackOptions {
  retryAfter?: Interval
  /** Kept with the message if it is dead-lettered. */
  reason?: string | null
}

export interface Capabilities {
  /** PostgreSQL's version, for instance 150018. */
  serverVersion: number
  /** The engine settles a batch in one call. */
  finish: boolean
  /** The engine can tick every queue with new events. */
  tickerPending: boolean
  /** The engine hands a large batch out in pages. */
  pages: boolean
}

export interface Notification {
  channel: string
  payload: string
  processId: number
}

export interface Replayed {
  replayed: number
  failed: number
  firstError: string | null
}

/** How long a client that is lent to a handler may be used. */
export interface Lease {
  over: boolean
}

/**
 * Connects with a connection string of libpq, as URI (`postgresql://…`) or keywords (`host=… dbname=…`).
 *
 * An open client does not keep the process alive.
 */
export async function connect(dsn: string, options?: ConnectOptions): Promise<Client> {
  const op = 'connect'
  const { autocommit, signal } = args.options(op, options, ['autocommit', 'signal'])
  const flag = args.maybeFlag(op, 'autocommit', autocommit)
  const target = args.text(op, 'dsn', dsn)
  const open = () => guard(op, () => native.connect(target, flag))
  return new Client(await interruptible(op, maybeSignal(op, signal), open))
}

/** A client of one database. Calls may be made at once; they are pipelined on the one connection. */
export class Client {
  readonly #native: native.NativeClient
  readonly #connection: Queryable | null
  readonly #lease: Lease | null
  #signal: AbortSignal | undefined

  /**
   * A client on a node-postgres connection of yours: every call is part of whatever transaction is open there.
   * For a connection of its own use `connect`.
   */
  constructor(connection: Queryable)
  /** @internal */
  constructor(connection: native.NativeClient, lease?: Lease)
  constructor(connection: Queryable | native.NativeClient, lease: Lease | null = null) {
    this.#lease = lease
    if (connection instanceof native.NativeClient) {
      this.#native = connection
      this.#connection = null
      return
    }
    if (typeof connection?.query !== 'function') {
      throw invalid(
        'client',
        'connection must be a node-postgres client; to connect with a DSN, use connect(dsn)',
      )
    }
    this.#native = foreignClient()
    this.#connection = connection
  }

  /** As the constructor. */
  static over(connection: Queryable): Client {
    return new Client(connection)
  }

  /**
   * The same client, whose calls end when the signal is aborted: with an error of kind `interrupted`, and the signal's
   * reason as its `cause`. The server is asked to give up what it was doing, which may be done all the same.
   */
  withSignal(signal: AbortSignal): Client {
    const same = this.#same()
    same.#signal = maybeSignal('withSignal', signal)
    return same
  }

  /** The same client without a signal. */
  #same(): Client {
    if (this.#connection !== null) return new Client(this.#connection)
    return new Client(this.#native, this.#lease ?? undefined)
  }

  /** Makes a call, with all its errors turned into ours. */
  async #call<T>(op: string, make: (native: native.NativeClient) => Promise<T>): Promise<T> {
    if (this.#lease?.over) {
      throw localError(
        'closed',
        op,
        'this client was for one call of a handler, which is over; connect one of your own',
      )
    }
    const connection = this.#connection
    const call = () => make(this.#native)
    return interruptible(op, this.#signal, () =>
      connection === null ? guard(op, call) : onConnection(op, connection, call),
    )
  }

  async #resultSet(op: string, make: (native: native.NativeClient) => Promise<native.RawResultSet>) {
    return new ResultSet(await this.#call(op, make))
  }

  /** Closes the connection; one of yours, or of the consumer, stays open. Twice is fine. */
  async close(): Promise<void> {
    if (this.#lease) return
    await this.#call('close', (n) => n.close())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Opens a transaction. Fails with `conflict` inside one, and on a connection of yours. */
  async begin(): Promise<void> {
    await this.#call('begin', (n) => n.begin())
  }

  /** Commits. A transaction in which a statement failed is rolled back, and the call fails. */
  async commit(): Promise<void> {
    await this.#call('commit', (n) => n.commit())
  }

  async rollback(): Promise<void> {
    await this.#call('rollback', (n) => n.rollback())
  }

  /** Runs the function in a transaction: committed when it succeeds, rolled back when it throws. */
  async transaction<T>(work: (client: this) => T | Promise<T>): Promise<T> {
    if (typeof work !== 'function') throw invalid('transaction', 'work must be a function')
    await this.begin()
    let result: T
    try {
      result = await work(this)
    } catch (error) {
      // A connection that was lost has rolled back as well; what `work` threw is the one to tell. Also when the signal
      // is aborted, or the transaction would stay open.
      await this.#same()
        .rollback()
        .catch(() => {})
      throw error
    }
    await this.commit()
    return result
  }

  /** Runs any one statement. Parameters are written `$1`, `$2` … and travel as text. */
  async execute(sql: string, params: readonly Parameter[] = []): Promise<ResultSet> {
    const op = 'execute'
    const statement = args.text(op, 'sql', sql)
    const values = args.list(op, 'params', params).map((p, i) => args.parameter(op, `params[${i}]`, p))
    return this.#resultSet(op, (n) => n.execute(statement, values))
  }

  async listen(channel: string): Promise<void> {
    const name = args.text('listen', 'channel', channel)
    await this.#call('listen', (n) => n.listen(name))
  }

  async unlisten(channel: string): Promise<void> {
    const name = args.text('unlisten', 'channel', channel)
    await this.#call('unlisten', (n) => n.unlisten(name))
  }

  /** Waits for a notification, at most so many seconds; null when the time is over. */
  async notification(timeout: number = Infinity): Promise<Notification | null> {
    const seconds = args.number('notification', 'timeout', timeout)
    return (await this.#call('notification', (n) => n.notification(seconds))) ?? null
  }

  /** What the server at the other end offers. */
  async capabilities(): Promise<Capabilities> {
    return this.#call('capabilities', (n) => n.capabilities())
  }

  /** The engine's version. */
  async version(): Promise<string> {
    return this.#call('version', (n) => n.version())
  }

  /**
   * Sends one event and gives its id. It is seen by nobody before the transaction commits.
   *
   * A missing payload is JSON null. What JSON cannot hold fails with `invalid_input` before anything is sent.
   */
  async send(queue: string, payload?: Payload, options?: SendOptions): Promise<bigint> {
    const event = eventArguments('send', queue, payload, options)
    return this.#call('send', (n) => n.send(...event))
  }

  /**
   * Sends many events of one type in one statement: all or none. Ids are in the order of the payloads.
   *
   * Unlike in `send` the type is stored as given, null as NULL.
   */
  async sendBatch(
    queue: string,
    type: string | null,
    payloads: readonly Payload[] | readonly Text[],
  ): Promise<bigint[]> {
    const op = 'send_batch'
    const name = args.text(op, 'queue', queue)
    const eventType = args.maybeText(op, 'type', type)
    const { values, text } = bodies(op, 'payloads', args.list(op, 'payloads', payloads))
    return this.#call(op, (n) =>
      text ? n.sendBatchText(name, eventType, values) : n.sendBatch(name, eventType, values as string[]),
    )
  }

  /** Registers a consumer at the newest tick. 1 if it is new, 0 if it existed. */
  async subscribe(queue: string, consumer: string): Promise<number> {
    const names = consumerOf('subscribe', queue, consumer)
    return this.#call('subscribe', (n) => n.subscribe(...names))
  }

  /** Removes a consumer with its retries. 1, or 0 if there was none. */
  async unsubscribe(queue: string, consumer: string): Promise<number> {
    const names = consumerOf('unsubscribe', queue, consumer)
    return this.#call('unsubscribe', (n) => n.unsubscribe(...names))
  }

  /** Registers a cooperative worker. `convertNormal` turns an ordinary consumer into a cooperative one. */
  async subscribeSubconsumer(
    queue: string,
    consumer: string,
    subconsumer: string,
    options?: { convertNormal?: boolean },
  ): Promise<number> {
    const op = 'subscribe_subconsumer'
    const names = memberOf(op, queue, consumer, subconsumer)
    const { convertNormal } = args.options(op, options, ['convertNormal'])
    const convert = args.maybeFlag(op, 'convertNormal', convertNormal)
    return this.#call(op, (n) => n.subscribeSubconsumer(...names, convert))
  }

  /** Removes a cooperative worker. `batchHandling`: 0 refuses while a batch is open, 1 retries its messages. */
  async unsubscribeSubconsumer(
    queue: string,
    consumer: string,
    subconsumer: string,
    options?: { batchHandling?: number },
  ): Promise<number> {
    const op = 'unsubscribe_subconsumer'
    const names = memberOf(op, queue, consumer, subconsumer)
    const { batchHandling } = args.options(op, options, ['batchHandling'])
    const handling = args.maybeInteger(op, 'batchHandling', batchHandling)
    return this.#call(op, (n) => n.unsubscribeSubconsumer(...names, handling))
  }

  /** Says that a cooperative worker is alive. 1, or 0 if there is none. */
  async touchSubconsumer(queue: string, consumer: string, subconsumer: string): Promise<number> {
    const names = memberOf('touch_subconsumer', queue, consumer, subconsumer)
    return this.#call('touch_subconsumer', (n) => n.touchSubconsumer(...names))
  }

  /**
   * Gives the open batch of the consumer, or opens the next one; empty when there is none.
   *
   * Until it is acknowledged the same batch comes again.
   */
  async receive(queue: string, consumer: string, options?: ReceiveOptions): Promise<Message[]> {
    const op = 'receive'
    const names = consumerOf(op, queue, consumer)
    const { maxMessages } = args.options(op, options, ['maxMessages'])
    const limit = args.maybeInteger(op, 'maxMessages', maxMessages)
    return messages(await this.#call(op, (n) => n.receive(...names, limit)))
  }

  /** As `receive` for one cooperative worker, which is registered on the fly. */
  async receiveCoop(
    queue: string,
    consumer: string,
    subconsumer: string,
    options?: ReceiveCoopOptions,
  ): Promise<Message[]> {
    const op = 'receive_coop'
    const names = memberOf(op, queue, consumer, subconsumer)
    const { maxMessages, deadInterval } = args.options(op, options, ['maxMessages', 'deadInterval'])
    const limit = args.maybeInteger(op, 'maxMessages', maxMessages)
    const dead = args.maybeInterval(op, 'deadInterval', deadInterval)
    return messages(await this.#call(op, (n) => n.receiveCoop(...names, limit, dead)))
  }

  /** Finishes a batch. 1, or 0 if it is unknown, already finished or taken over. */
  async ack(batchId: bigint): Promise<number> {
    const batch = args.id('ack', 'batchId', batchId)
    return this.#call('ack', (n) => n.ack(batch))
  }

  /** Has one message of an open batch delivered again after a delay; the batch must still be acknowledged. */
  async nack(batchId: bigint, message: Message | bigint, options?: NackOptions): Promise<void> {
    const op = 'nack'
    const batch = args.id(op, 'batchId', batchId)
    const msgId = idOf(op, 'message', message)
    const { retryAfter, reason } = args.options(op, options, ['retryAfter', 'reason'])
    const after = args.maybeInterval(op, 'retryAfter', retryAfter)
    const why = args.maybeText(op, 'reason', reason)
    await this.#call(op, (n) => n.nack(batch, msgId, after, why))
  }

  /**
   * Settles a batch: what is not named is done, the rest is retried or dead-lettered, all or nothing.
   * 1, or 0 without any effect if the batch is unknown, already finished or taken over.
   *
   * `verdicts` are pairs of a message, or its id, and a verdict; a Map will do.
   */
  async finish(
    batchId: bigint,
    verdicts: Iterable<readonly [Message | bigint, Verdict]> = [],
  ): Promise<number> {
    const op = 'finish'
    const batch = args.id(op, 'batchId', batchId)
    const named = pairs(verdicts).map(([message, verdict], i) => judged(`verdicts[${i}]`, message, verdict))
    return this.#call(op, (n) => n.finish(batch, named))
  }

  /** Ticks one queue if its settings ask for it. The tick's id, or null if it was not yet time. */
  async ticker(queue: string): Promise<bigint | null> {
    const name = args.text('ticker', 'queue', queue)
    return this.#call('ticker', (n) => n.ticker(name))
  }

  /** Ticks all queues whose settings ask for it; how many ticked. */
  async tickerAll(): Promise<number> {
    return this.#call('ticker_all', (n) => n.tickerAll())
  }

  /** Has the next `ticker` call of the queue tick in any case. The id of the newest existing tick. */
  async forceNextTick(queue: string): Promise<bigint | null> {
    const name = args.text('force_next_tick', 'queue', queue)
    return this.#call('force_next_tick', (n) => n.forceNextTick(name))
  }

  /** Alias of `forceNextTick`. */
  async forceTick(queue: string): Promise<bigint | null> {
    const name = args.text('force_tick', 'queue', queue)
    return this.#call('force_tick', (n) => n.forceTick(name))
  }

  /** Runs due maintenance, table rotation above all; how much was done. */
  async maint(): Promise<number> {
    return this.#call('maint', (n) => n.maint())
  }

  /** Puts messages whose retry delay is over back into their queues; how many. */
  async maintRetryEvents(): Promise<number> {
    return this.#call('maint_retry_events', (n) => n.maintRetryEvents())
  }

  /** Installs the engine, or brings an existing one up to date. Repeating it is harmless. */
  async install(): Promise<void> {
    await this.#call('install', (n) => n.install())
  }

  /** Removes the engine with all queues and events. */
  async uninstall(): Promise<void> {
    await this.#call('uninstall', (n) => n.uninstall())
  }

  /** One row for each part of the engine: `component`, `status`, `detail`. */
  async status(): Promise<ResultSet> {
    return this.#resultSet('status', (n) => n.status())
  }

  /** Creates a queue. 1, or 0 if it existed. */
  async createQueue(queue: string): Promise<number> {
    const name = args.text('create_queue', 'queue', queue)
    return this.#call('create_queue', (n) => n.createQueue(name))
  }

  /** Drops a queue with its events. Fails with `conflict` while consumers are subscribed, unless forced. */
  async dropQueue(queue: string, options?: { force?: boolean }): Promise<number> {
    const op = 'drop_queue'
    const name = args.text(op, 'queue', queue)
    const { force } = args.options(op, options, ['force'])
    const flag = args.maybeFlag(op, 'force', force)
    return this.#call(op, (n) => n.dropQueue(name, flag))
  }

  /** Sets one setting of a queue; null resets it. */
  async setQueueConfig(queue: string, name: string, value: string | null): Promise<number> {
    const op = 'set_queue_config'
    const queueName = args.text(op, 'queue', queue)
    const setting = args.text(op, 'name', name)
    const text = args.maybeText(op, 'value', value)
    return this.#call(op, (n) => n.setQueueConfig(queueName, setting, text))
  }

  /** One queue, or all; no row for an unknown one. Intervals are in seconds. */
  async queueInfo(queue?: string | null): Promise<ResultSet> {
    const name = args.maybeText('queue_info', 'queue', queue)
    return this.#resultSet('queue_info', (n) => n.queueInfo(name))
  }

  /** The subscriptions of a queue and a consumer; missing means all. Intervals are in seconds. */
  async consumerInfo(queue?: string | null, consumer?: string | null): Promise<ResultSet> {
    const op = 'consumer_info'
    const queueName = args.maybeText(op, 'queue', queue)
    const name = args.maybeText(op, 'consumer', consumer)
    return this.#resultSet(op, (n) => n.consumerInfo(queueName, name))
  }

  /** An open batch; no row for an unknown one. Intervals are in seconds. */
  async batchInfo(batchId: bigint): Promise<ResultSet> {
    const batch = args.id('batch_info', 'batchId', batchId)
    return this.#resultSet('batch_info', (n) => n.batchInfo(batch))
  }

  /** The dead letters of a queue, the newest first. */
  async dlqInspect(queue: string, options?: { limit?: number }): Promise<ResultSet> {
    const op = 'dlq_inspect'
    const name = args.text(op, 'queue', queue)
    const { limit } = args.options(op, options, ['limit'])
    const rows = args.maybeInteger(op, 'limit', limit)
    return this.#resultSet(op, (n) => n.dlqInspect(name, rows))
  }

  /** Sends a dead letter again as a new event, which every consumer of the queue receives. Its id. */
  async dlqReplay(deadLetterId: bigint): Promise<bigint> {
    const letter = args.id('dlq_replay', 'deadLetterId', deadLetterId)
    return this.#call('dlq_replay', (n) => n.dlqReplay(letter))
  }

  /** Replays every dead letter of a queue. What fails stays and is counted. */
  async dlqReplayAll(queue: string): Promise<Replayed> {
    const name = args.text('dlq_replay_all', 'queue', queue)
    return this.#call('dlq_replay_all', (n) => n.dlqReplayAll(name))
  }

  /**
   * Gives a dead letter back to the consumer that could not handle it, and to no other: as a retry that is due at once,
   * with the id that it had and all of its retries. That id. Fails with `consumer_not_found` if the consumer is not
   * subscribed any more.
   */
  async dlqRedeliver(deadLetterId: bigint): Promise<bigint> {
    const letter = args.id('dlq_redeliver', 'deadLetterId', deadLetterId)
    return this.#call('dlq_redeliver', (n) => n.dlqRedeliver(letter))
  }

  /**
   * Gives all dead letters of a queue, or of one of its consumers, back to their consumers; how many. Those of consumers
   * that are not subscribed any more stay.
   */
  async dlqRedeliverAll(queue: string, consumer?: string | null): Promise<number> {
    const op = 'dlq_redeliver_all'
    const queueName = args.text(op, 'queue', queue)
    const name = args.maybeText(op, 'consumer', consumer)
    return this.#call(op, (n) => n.dlqRedeliverAll(queueName, name))
  }

  /** Deletes dead letters that are older than the given time; how many. */
  async dlqPurge(queue: string, options?: { olderThan?: Interval }): Promise<number> {
    const op = 'dlq_purge'
    const name = args.text(op, 'queue', queue)
    const { olderThan } = args.options(op, options, ['olderThan'])
    const age = args.maybeInterval(op, 'olderThan', olderThan)
    return this.#call(op, (n) => n.dlqPurge(name, age))
  }
}

function consumerOf(op: string, queue: unknown, consumer: unknown): [string, string] {
  return [args.text(op, 'queue', queue), args.text(op, 'consumer', consumer)]
}

function memberOf(op: string, queue: unknown, consumer: unknown, member: unknown): [string, string, string] {
  return [...consumerOf(op, queue, consumer), args.text(op, 'subconsumer', member)]
}

function idOf(op: string, name: string, message: unknown): bigint {
  return message instanceof Message ? message.msgId : args.id(op, name, message)
}

function pairs(verdicts: unknown): unknown[][] {
  const iterable = verdicts as Iterable<unknown> | null | undefined
  if (typeof iterable?.[Symbol.iterator] !== 'function') {
    throw invalid('finish', 'verdicts must be pairs of a message and a verdict')
  }
  return Array.from(iterable, (pair, i) => args.list('finish', `verdicts[${i}]`, pair))
}

function judged(name: string, message: unknown, verdict: unknown): native.MessageVerdict {
  const op = 'finish'
  if (!(verdict instanceof Verdict)) {
    throw invalid(op, `${name}: a verdict is made with ack(), retry() or dead()`)
  }
  return {
    msgId: idOf(op, `${name}: the message`, message),
    verdict: verdict.verdict,
    after: args.maybeInterval(op, `${name}: after`, verdict.after),
    reason: args.maybeText(op, `${name}: reason`, verdict.reason) ?? undefined,
  }
}
