/** The client of PgQue, an event log and queue inside PostgreSQL. */
import { libraryVersion } from './native'

export type { Interval, Parameter } from './arguments'
export { Client, connect } from './client'
export type {
  Capabilities,
  ConnectOptions,
  NackOptions,
  Notification,
  ReceiveCoopOptions,
  ReceiveOptions,
  Replayed,
} from './client'
export { Consumer } from './consumer'
export type { ConsumerOptions, Health, RunOptions, Stats } from './consumer'
export {
  PgqueBatchNotFoundError,
  PgqueClosedError,
  PgqueConfigurationError,
  PgqueConflictError,
  PgqueConnectionError,
  PgqueConsumerNotFoundError,
  PgqueError,
  PgqueInternalError,
  PgqueInterruptedError,
  PgqueInvalidInputError,
  PgqueNotInstalledError,
  PgqueOverflowError,
  PgquePermissionDeniedError,
  PgqueQueueNotFoundError,
  PgqueServerError,
  PgqueTimeoutError,
} from './errors'
export type { ErrorFacts, ErrorKind } from './errors'
export type { Queryable } from './foreign'
export type {
  AfterMessage,
  BatchAnswer,
  BatchHandler,
  BatchVerdict,
  BeforeMessage,
  FailureAnswer,
  FailureCallback,
  Handler,
  Outcome,
} from './handling'
export { setLogger } from './logger'
export type { Logger, LogLevel } from './logger'
export { Message, Timestamp } from './message'
export type { MessageFields } from './message'
export { Text, text } from './payload'
export type { Payload, SendOptions } from './payload'
export { Producer } from './producer'
export type { CloseOptions, ProducerOptions, ProducerStats } from './producer'
export { ResultSet } from './result'
export type { Value } from './result'
export { Ticker } from './ticker'
export type { TickerOptions, TickerStats } from './ticker'
export { ack, dead, retry, Verdict } from './verdict'

/** The version of this library. */
export const VERSION: string = libraryVersion()
