/** Conversion of arguments: what is not of the right type is an `invalid_input` that names the argument. */
import { inspect } from 'node:util'

import { invalid } from './errors'

/** Seconds, or PostgreSQL interval text such as `5 minutes`. */
export type Interval = number | string

const show = (value: unknown) => inspect(value, { depth: 0, maxStringLength: 40 })

function refuse(op: string, name: string, wanted: string, value: unknown): never {
  throw invalid(op, `${name} must be ${wanted}, got ${show(value)}`)
}

export function text(op: string, name: string, value: unknown): string {
  if (typeof value !== 'string') refuse(op, name, 'a string', value)
  // Encoding it would silently replace the lone half by U+FFFD.
  if (!value.isWellFormed()) throw invalid(op, `${name} holds a lone surrogate, which is not text`)
  return value
}

export function maybeText(op: string, name: string, value: unknown): string | null {
  return value === undefined || value === null ? null : text(op, name, value)
}

export function integer(op: string, name: string, value: unknown): number {
  if (!Number.isSafeInteger(value)) refuse(op, name, 'a whole number', value)
  return value as number
}

export function maybeInteger(op: string, name: string, value: unknown): number | undefined {
  return value === undefined ? undefined : integer(op, name, value)
}

export function number(op: string, name: string, value: unknown): number {
  if (typeof value !== 'number') refuse(op, name, 'a number', value)
  return value
}

export function maybeFlag(op: string, name: string, value: unknown): boolean | undefined {
  if (value !== undefined && typeof value !== 'boolean') refuse(op, name, 'true or false', value)
  return value
}

export function id(op: string, name: string, value: unknown): bigint {
  if (typeof value !== 'bigint') refuse(op, name, 'a bigint', value)
  if (BigInt.asIntN(64, value) !== value) refuse(op, name, 'a 64-bit number', value)
  return value
}

export function maybeInterval(op: string, name: string, value: unknown): Interval | undefined {
  if (value === undefined || typeof value === 'number') return value
  if (typeof value !== 'string') refuse(op, name, 'seconds or interval text', value)
  return text(op, name, value)
}

export function list(op: string, name: string, value: unknown): unknown[] {
  if (!Array.isArray(value)) refuse(op, name, 'an array', value)
  return value
}

export function record(op: string, name: string, value: unknown): Record<string, unknown> {
  if (value === undefined) return {}
  if (typeof value !== 'object' || value === null) refuse(op, name, 'an object', value)
  return value as Record<string, unknown>
}

/** An object of options: one that is not known is a mistake that would otherwise go unseen. */
export function options(op: string, value: unknown, known: readonly string[]): Record<string, unknown> {
  const given = record(op, 'options', value)
  for (const name of Object.keys(given)) {
    if (!known.includes(name)) throw invalid(op, `unknown option '${name}'; there are ${known.join(', ')}`)
  }
  return given
}

/** Options for the core, which knows their names and their rules: as text, spelled its way. */
export function namedOptions(op: string, given: Record<string, unknown>): { name: string; value: string }[] {
  const pairs = Object.entries(given).filter(([, value]) => value !== undefined && value !== null)
  return pairs.map(([name, value]) => {
    if (typeof value !== 'number' && typeof value !== 'string' && typeof value !== 'boolean')
      refuse(op, name, 'a number, a string, true or false', value)
    const snake = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
    return { name: snake, value: text(op, name, String(value)) }
  })
}

/** A parameter of a raw statement. */
export type Parameter = string | number | bigint | boolean | Date | Uint8Array | null | undefined

export function parameter(op: string, name: string, value: unknown): string | null {
  switch (typeof value) {
    case 'undefined':
      return null
    case 'number':
    case 'bigint':
    case 'boolean':
      return String(value)
    case 'string':
      return text(op, name, value)
  }
  if (value === null) return null
  if (value instanceof Date) return value.toISOString()
  if (value instanceof Uint8Array) return `\\x${Buffer.from(value).toString('hex')}`
  return refuse(op, name, 'a string, number, bigint, boolean, Date, Uint8Array or null', value)
}
