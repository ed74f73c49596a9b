import { inspect } from 'node:util'

import { invalid } from './errors'
import type { Columns } from './native'

/** A time with the microseconds of PostgreSQL, which a Date rounds off. */
export class Timestamp extends Date {
  /** Microseconds since 1970-01-01T00:00:00Z; negative before. */
  readonly micros: bigint

  constructor(micros: bigint) {
    super(Number(micros / 1000n) - (micros % 1000n < 0n ? 1 : 0))
    this.micros = micros
  }
}

/** What `JSON.stringify` and `console.log` show of a message. */
export interface MessageFields {
  msgId: bigint
  batchId: bigint
  type: string | null
  payload: string | null
  retryCount: number | null
  createdAt: Date
  extra1: string | null
  extra2: string | null
  extra3: string | null
  extra4: string | null
}

/**
 * One event as a consumer receives it.
 *
 * A message is a view of the batch that it came with: keep the fields rather than the message if you keep it long.
 */
export class Message implements MessageFields {
  readonly #columns: Columns
  readonly #row: number

  /** @internal */
  constructor(columns: Columns, row: number) {
    this.#columns = columns
    this.#row = row
  }

  /** Unique within the queue; kept when the message is retried. */
  get msgId(): bigint {
    return this.#columns.msgIds[this.#row]
  }

  /** The batch to acknowledge. */
  get batchId(): bigint {
    return this.#columns.batchIds[this.#row]
  }

  /** Null when the producer stored NULL, which is not the empty string. */
  get type(): string | null {
    return this.#columns.types[this.#row]
  }

  /** The stored text, usually JSON; null for SQL NULL. */
  get payload(): string | null {
    return this.#columns.payloads[this.#row]
  }

  /** How often the message was retried; null on first delivery. */
  get retryCount(): number | null {
    return this.#columns.retryCounts[this.#row]
  }

  /** When the producing transaction began. */
  get createdAt(): Date {
    return new Timestamp(this.createdAtMicros)
  }

  /** The same in microseconds since 1970, of which a Date keeps the milliseconds only. */
  get createdAtMicros(): bigint {
    return this.#columns.createdAt[this.#row]
  }

  get extra1(): string | null {
    return this.#extra(0)
  }

  get extra2(): string | null {
    return this.#extra(1)
  }

  get extra3(): string | null {
    return this.#extra(2)
  }

  get extra4(): string | null {
    return this.#extra(3)
  }

  /**
   * The payload parsed as JSON; NULL parses as null. Fails with `invalid_input` if it is not JSON.
   *
   * Numbers become JavaScript numbers: parse `payload` yourself where integers may exceed 2^53.
   */
  json<T = any>(): T {
    try {
      return JSON.parse(this.payload ?? 'null')
    } catch (error) {
      throw invalid(
        'json',
        `payload of message ${this.msgId} is not JSON: ${(error as Error).message}`,
        error,
      )
    }
  }

  /** The fields, with ids as decimal text, since JSON has no bigint. */
  toJSON(): Record<string, unknown> {
    return { ...this.#fields(), msgId: String(this.msgId), batchId: String(this.batchId) }
  }

  [inspect.custom](depth: number, options: object): string {
    return `Message ${inspect(this.#fields(), { ...options, depth })}`
  }

  #extra(number: number): string | null {
    return this.#columns.extras[number]?.[this.#row] ?? null
  }

  #fields(): MessageFields {
    const { msgId, batchId, type, payload, retryCount, createdAt, extra1, extra2, extra3, extra4 } = this
    return { msgId, batchId, type, payload, retryCount, createdAt, extra1, extra2, extra3, extra4 }
  }
}

/** The messages of some columns. */
export function messages(columns: Columns): Message[] {
  return Array.from(columns.payloads, (_, row) => new Message(columns, row))
}
