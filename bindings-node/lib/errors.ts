import { errorKinds } from './native'

/** What went wrong, as far as a caller would act on it differently. */
export type ErrorKind =
  | 'connection'
  | 'configuration'
  | 'closed'
  | 'timeout'
  | 'queue_not_found'
  | 'consumer_not_found'
  | 'batch_not_found'
  | 'overflow'
  | 'permission_denied'
  | 'invalid_input'
  | 'conflict'
  | 'not_installed'
  | 'server'
  | 'internal'
  | 'interrupted'

/** Everything that is known about an error. */
export interface ErrorFacts {
  kind: string
  number: number
  op: string
  message: string
  sqlstate?: string | null
  detail?: string | null
  hint?: string | null
  constraint?: string | null
  retriable?: boolean
  uncertain?: boolean
  configuredLimit?: number | null
  cause?: unknown
}

/** Every failure of this library. Tell the kinds apart by class or by `code`. */
export class PgqueError extends Error {
  /** For instance `PGQUE_QUEUE_NOT_FOUND`. */
  readonly code: string
  /** For instance `queue_not_found`. A later version may know kinds that this one does not. */
  readonly kind: ErrorKind | (string & {})
  /** The stable number of the kind, the same in every language. */
  readonly number: number
  /** The operation that failed, as the library names it: `send`, `send_batch` … */
  readonly op: string
  /** The SQLSTATE, detail, hint and constraint that the server gave, else null. */
  readonly sqlstate: string | null
  readonly detail: string | null
  readonly hint: string | null
  readonly constraint: string | null
  /** Whether the same call may succeed later without any change. */
  readonly retriable: boolean
  /** Whether nobody knows if the call took effect: to repeat it could do it twice. */
  readonly uncertain: boolean
  /** The limit that an overflow exceeded, else null. */
  readonly configuredLimit: number | null

  constructor(facts: ErrorFacts) {
    super(facts.message, facts.cause === undefined ? undefined : { cause: facts.cause })
    this.kind = facts.kind
    this.code = `PGQUE_${facts.kind.toUpperCase()}`
    this.number = facts.number
    this.op = facts.op
    this.sqlstate = facts.sqlstate ?? null
    this.detail = facts.detail ?? null
    this.hint = facts.hint ?? null
    this.constraint = facts.constraint ?? null
    this.retriable = facts.retriable ?? false
    this.uncertain = facts.uncertain ?? false
    this.configuredLimit = facts.configuredLimit ?? null
  }
}

/** The server cannot be reached, refused the login, or the connection was lost. */
export class PgqueConnectionError extends PgqueError {}
/** A setting or option is wrong. */
export class PgqueConfigurationError extends PgqueError {}
/** The client, consumer or ticker is closed. */
export class PgqueClosedError extends PgqueError {}
/** A time limit passed before the server answered. */
export class PgqueTimeoutError extends PgqueError {}
export class PgqueQueueNotFoundError extends PgqueError {}
export class PgqueConsumerNotFoundError extends PgqueError {}
export class PgqueBatchNotFoundError extends PgqueError {}
/** The batch holds more messages than `configuredLimit`; nothing was advanced. */
export class PgqueOverflowError extends PgqueError {}
export class PgquePermissionDeniedError extends PgqueError {}
/** An argument is not acceptable. */
export class PgqueInvalidInputError extends PgqueError {}
/** The call does not fit the present state of the object, or lost against a concurrent one. */
export class PgqueConflictError extends PgqueError {}
/** The database has no usable `pgque` schema. */
export class PgqueNotInstalledError extends PgqueError {}
/** Any other error that the server reported. */
export class PgqueServerError extends PgqueError {}
/** A defect in this library. */
export class PgqueInternalError extends PgqueError {}
export class PgqueInterruptedError extends PgqueError {}

const CLASSES: Record<ErrorKind, new (facts: ErrorFacts) => PgqueError> = {
  connection: PgqueConnectionError,
  configuration: PgqueConfigurationError,
  closed: PgqueClosedError,
  timeout: PgqueTimeoutError,
  queue_not_found: PgqueQueueNotFoundError,
  consumer_not_found: PgqueConsumerNotFoundError,
  batch_not_found: PgqueBatchNotFoundError,
  overflow: PgqueOverflowError,
  permission_denied: PgquePermissionDeniedError,
  invalid_input: PgqueInvalidInputError,
  conflict: PgqueConflictError,
  not_installed: PgqueNotInstalledError,
  server: PgqueServerError,
  internal: PgqueInternalError,
  interrupted: PgqueInterruptedError,
}

// On the prototypes, so that a stack trace says the class also where a bundler has renamed it.
PgqueError.prototype.name = 'PgqueError'
for (const [kind, constructor] of Object.entries(CLASSES)) {
  const words = kind.split('_').map((word) => word[0].toUpperCase() + word.slice(1))
  constructor.prototype.name = `Pgque${words.join('')}Error`
}

/** Makes the error of the class that belongs to the kind; an unknown kind gives the base class. */
export function makeError(facts: ErrorFacts): PgqueError {
  const Class = Object.hasOwn(CLASSES, facts.kind) ? CLASSES[facts.kind as ErrorKind] : PgqueError
  return new Class(facts)
}

const NUMBERS = new Map(errorKinds().map(({ name, number }) => [name, number]))

/** An error that this layer finds before the core is asked. */
export function localError(kind: ErrorKind, op: string, message: string, cause?: unknown): PgqueError {
  return makeError({ kind, number: NUMBERS.get(kind) ?? 0, op, message, cause })
}

export function invalid(op: string, message: string, cause?: unknown): PgqueError {
  return localError('invalid_input', op, message, cause)
}

/** Turns whatever the compiled part threw into an error of ours. */
export function fromNative(op: string, error: unknown, cause?: unknown): PgqueError {
  if (error instanceof PgqueError) return error
  const { message = String(error), code } = error as { message?: string; code?: string }
  const ours = message.startsWith('{"pgque":') // boundary: an envelope of facts, not prose
  if (ours) return makeError({ ...JSON.parse(message).pgque, cause })
  // The runtime's own conversion of an argument failed.
  const refused = code === 'InvalidArg' || code?.endsWith('Expected')
  return localError(refused ? 'invalid_input' : 'internal', op, message, error)
}

/** Makes a call to the compiled part; whatever it throws or rejects with becomes an error of ours. */
export async function guard<T>(op: string, call: () => T | Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    throw fromNative(op, error)
  }
}

/** The same for a call that answers at once. */
export function guardSync<T>(op: string, call: () => T): T {
  try {
    return call()
  } catch (error) {
    throw fromNative(op, error)
  }
}
