/** From a JavaScript value to JSON text, refusing what `JSON.stringify` would silently change. */
import { types } from 'node:util'

import { invalid } from './errors'

/** The core refuses deeper nesting than this anyway; the bound keeps the stack from running out before. */
const DEPTH_MAX = 1000

class Unserialisable extends Error {}

/** JSON text of a value. `name` is the argument as an error calls it. */
export function encode(op: string, name: string, value: unknown): string {
  try {
    return write(value, '', name, []) ?? 'null'
  } catch (error) {
    if (error instanceof Unserialisable) throw invalid(op, error.message)
    // A getter or a `toJSON` of the caller's has thrown.
    throw invalid(
      op,
      `${name} cannot be read as JSON: ${error instanceof Error ? error.message : error}`,
      error,
    )
  }
}

/** Undefined for what has no place in JSON: a missing member. */
function write(given: unknown, key: string, path: string, above: object[]): string | undefined {
  const value = unwrap(given, key, path)
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value)
    case 'number':
      if (!Number.isFinite(value)) throw new Unserialisable(`${path} is ${value}, which JSON cannot express`)
      return String(value)
    case 'boolean':
    case 'bigint':
      return String(value)
    case 'undefined':
      return undefined
    case 'object':
      return value === null ? 'null' : writeObject(value, path, above)
    default:
      throw new Unserialisable(`${path} is a ${typeof value}, which JSON cannot express`)
  }
}

/** `toJSON`, and the objects that stand for a primitive, as `JSON.stringify` treats them. */
function unwrap(value: unknown, key: string, path: string): unknown {
  if (typeof value !== 'object' || value === null) return value
  refuseBinary(value, path)
  const { toJSON } = value as { toJSON?: unknown }
  const plain: unknown = typeof toJSON === 'function' ? toJSON.call(value, key) : value
  return types.isBoxedPrimitive(plain) ? plain.valueOf() : plain
}

/** Before `toJSON`: a Buffer has one, and what it gives is hardly ever meant. */
function refuseBinary(value: object, path: string): void {
  if (ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value)) {
    throw new Unserialisable(`${path} is binary, which JSON cannot express; encode it as text first`)
  }
}

function writeObject(value: object, path: string, above: object[]): string {
  if (above.includes(value)) throw new Unserialisable(`${path} contains itself, which JSON cannot express`)
  if (above.length >= DEPTH_MAX) throw new Unserialisable(`${path} is nested too deeply`)
  if (types.isMap(value) || types.isSet(value)) {
    const kind = types.isMap(value) ? 'Map' : 'Set'
    throw new Unserialisable(`${path} is a ${kind}, which JSON cannot express; convert it first`)
  }
  above.push(value)
  const text = Array.isArray(value) ? writeArray(value, path, above) : writeMembers(value, path, above)
  above.pop()
  return text
}

function writeArray(items: unknown[], path: string, above: object[]): string {
  const parts: string[] = []
  for (let i = 0; i < items.length; i++) {
    parts.push(write(items[i], String(i), `${path}[${i}]`, above) ?? 'null')
  }
  return `[${parts.join(',')}]`
}

function writeMembers(value: object, path: string, above: object[]): string {
  const parts: string[] = []
  for (const key of Object.keys(value)) {
    const member = write((value as Record<string, unknown>)[key], key, `${path}.${key}`, above)
    if (member !== undefined) parts.push(`${JSON.stringify(key)}:${member}`)
  }
  return `{${parts.join(',')}}`
}
