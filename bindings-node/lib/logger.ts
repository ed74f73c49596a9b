import { guardSync, invalid } from './errors'
import { logLevel, logTo } from './native'

export type LogLevel = 'off' | 'error' | 'warn' | 'info' | 'debug' | 'trace'

/** Takes the level, the logger's name (`pgque`, `pgque.consumer.<name>`, `pgque.ticker`) and the line. */
export type Logger = (level: LogLevel, logger: string, line: string) => void

const LEVELS: readonly LogLevel[] = ['off', 'error', 'warn', 'info', 'debug', 'trace']

const toConsole: Logger = (level, logger, line) => console.warn(`${level} ${logger}: ${line}`)

let current: Logger | null = toConsole

/**
 * Sends this library's log lines to a function, or nowhere with null.
 *
 * Until it is called, warnings and errors go to `console.warn`. The level is that from which on lines are passed; by
 * default `warn`. The lines of the whole process go to one thread: the last that began to ask for them.
 */
export function setLogger(logger: Logger | null, level: LogLevel = 'warn'): void {
  if (logger !== null && typeof logger !== 'function') {
    throw invalid('set_logger', 'logger must be a function or null')
  }
  if (!LEVELS.includes(level)) throw invalid('set_logger', `level must be one of ${LEVELS.join(', ')}`)
  current = logger
  const wanted = logger === null ? 'off' : level
  guardSync('set_logger', () => (asked ? logLevel(wanted) : (asked = logTo(log, wanted, false))))
}

/** A logger that throws must not take the process down. */
export function log(level: string, logger: string, line: string): void {
  try {
    current?.(level as LogLevel, logger, line)
  } catch (error) {
    console.error('pgque: the logger failed:', error)
  }
}

/** Whether this thread has asked for lines. */
let asked = logTo(log, 'warn', true)
