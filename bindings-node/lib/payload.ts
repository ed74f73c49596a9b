import { text as textArgument } from './arguments'
import { invalid } from './errors'
import { encode } from './json'

/** A payload that is stored as it is, JSON or not; null is SQL NULL. */
export class Text {
  readonly value: string | null

  constructor(value: string | null) {
    this.value = value === null ? null : textArgument('text', 'value', value)
  }
}

/** A payload that is stored as it is, JSON or not; null is SQL NULL. */
export const text = (value: string | null): Text => new Text(value)

/** A payload ready to travel. */
export interface Body {
  text: boolean
  value: string | null
}

/** A string is JSON text already; `Text` is opaque; anything else becomes JSON. */
export function body(op: string, name: string, payload: unknown): Body {
  if (payload instanceof Text) return { text: true, value: payload.value }
  if (typeof payload === 'string') return { text: false, value: textArgument(op, name, payload) }
  return { text: false, value: encode(op, name, payload) }
}

/** All of one batch are JSON, or all are `Text`. */
export function bodies(
  op: string,
  name: string,
  payloads: unknown[],
): { text: boolean; values: (string | null)[] } {
  const text = payloads[0] instanceof Text
  const values = Array.from(payloads, (payload, i) => {
    const element = `${name}[${i}]`
    if (payload === undefined) throw invalid(op, `${element} is undefined; send null for JSON null`)
    const made = body(op, element, payload)
    if (made.text !== text) throw invalid(op, `${element}: a batch is all JSON or all Text, not a mixture`)
    return made.value
  })
  return { text, values }
}
