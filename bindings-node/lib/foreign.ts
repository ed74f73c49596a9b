/** Statements on a connection of the caller's. */
import { fromNative } from './errors'
import { Caller, type Failure, type NativeClient } from './native'

/** What node-postgres offers: a `Client`, a pool's client, or a `Pool`. */
export interface Queryable {
  query(config: {
    text: string
    values: unknown[]
    rowMode: 'array'
    types: { getTypeParser(oid: number, format?: string): (value: string) => unknown }
  }): Promise<{ rows: unknown[][] }>
}

/** One call of ours on a connection, with the driver's error that ended it. */
interface Call {
  connection: Queryable
  failure?: unknown
}

const calls = new Map<number, Call>()
let lastCall = 0

/** Text as the server sent it: decoding is the core's. */
const RAW = { getTypeParser: () => (value: string) => value }

const caller = new Caller((number, question, sql, params) => {
  void ask(number, question, sql, params)
})

async function ask(number: number, question: number, sql: string, params: unknown[]): Promise<void> {
  const call = calls.get(number)
  try {
    if (call === undefined) throw new Error('the call is over')
    const { rows } = await call.connection.query({ text: sql, values: params, rowMode: 'array', types: RAW })
    caller.rows(question, rows as (string | null)[][])
  } catch (error) {
    if (call !== undefined) call.failure = error
    caller.failed(question, failure(error))
  }
}

/** Only the server's errors have a severity; the codes of the others are the operating system's. */
function failure(error: unknown): Failure {
  // Anything can be thrown, also null: unanswered, the call would never end.
  const { message, severity, code, detail, hint, constraint } = Object(error) as Record<string, unknown>
  const known = (value: unknown) => (typeof value === 'string' ? value : undefined)
  return {
    message: known(message) ?? String(error),
    sqlstate: known(severity) && known(code),
    detail: known(detail),
    hint: known(hint),
    constraint: known(constraint),
  }
}

/** A client whose statements run on connections of the caller's. */
export const foreignClient = (): NativeClient => caller.client()

/** Makes a call whose statements run on that connection. The driver's error becomes the `cause` of ours. */
export async function onConnection<T>(op: string, connection: Queryable, make: () => Promise<T>): Promise<T> {
  const number = (lastCall = (lastCall % 0xffff_ffff) + 1)
  const call: Call = { connection }
  calls.set(number, call)
  try {
    caller.starting(number)
    return await make()
  } catch (error) {
    throw fromNative(op, error, call.failure)
  } finally {
    calls.delete(number)
  }
}
