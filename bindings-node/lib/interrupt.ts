/** Abort signals and the calls that they end. */
import { invalid, localError, PgqueInterruptedError } from './errors'
import { Interrupt } from './native'

/** Checks what is to be an AbortSignal, if there is one. */
export function maybeSignal(op: string, signal: unknown): AbortSignal | undefined {
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw invalid(op, 'signal must be an AbortSignal')
  return signal
}

/** Makes a call that ends when the signal is aborted; its reason becomes the `cause` of the error. */
export async function interruptible<T>(
  op: string,
  signal: AbortSignal | undefined,
  make: () => Promise<T>,
): Promise<T> {
  if (signal === undefined) return make()
  const aborted = () => localError('interrupted', op, 'the call was aborted', signal.reason)
  if (signal.aborted) throw aborted()
  const interrupt = new Interrupt()
  const end = () => interrupt.end()
  signal.addEventListener('abort', end)
  try {
    interrupt.starting()
    return await make()
  } catch (error) {
    throw error instanceof PgqueInterruptedError && signal.aborted ? aborted() : error
  } finally {
    signal.removeEventListener('abort', end)
  }
}
