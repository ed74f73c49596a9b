import { Timestamp } from './message'
import type { RawResultSet } from './native'

/**
 * A value of a result column. Integers are bigints; `numeric`, `json` and `uuid` are text; `timestamptz` is a
 * `Timestamp`.
 */
export type Value = null | boolean | bigint | number | string | Buffer | Timestamp | Value[]

/** The answer to a statement. */
export class ResultSet implements Iterable<Record<string, Value>> {
  /** Column names in order; empty for a statement without a result. */
  readonly columns: string[]
  readonly rows: Value[][]
  /** Rows returned or changed; null where the statement counts none. */
  readonly rowsAffected: number | null

  /** @internal */
  constructor(raw: RawResultSet) {
    this.columns = raw.columns
    this.rows = raw.rows.map((row) => row.map(value))
    this.rowsAffected = raw.rowsAffected
  }

  /** The rows as objects, by column name. */
  objects(): Record<string, Value>[] {
    return [...this]
  }

  *[Symbol.iterator](): Iterator<Record<string, Value>> {
    for (const row of this.rows) {
      yield Object.fromEntries(this.columns.map((name, i) => [name, row[i]]))
    }
  }
}

function value(cell: unknown): Value {
  if (typeof cell !== 'object' || cell === null || Buffer.isBuffer(cell)) return cell as Value
  if (Array.isArray(cell)) return cell.map(value)
  return new Timestamp((cell as { micros: bigint }).micros)
}
