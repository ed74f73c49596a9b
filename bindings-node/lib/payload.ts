import * as args from './arguments'
import { invalid } from './errors'
import { encode } from './json'

/** A payload that is stored as it is, JSON or not; null is SQL NULL. */
export class Text {
  readonly value: string | null

  constructor(value: string | null) {
    this.value = value === null ? null : args.text('text', 'value', value)
  }
}

/** A payload that is stored as it is, JSON or not; null is SQL NULL. */
export const text = (value: string | null): Text => new Text(value)

/** Any JSON-able value; a string is JSON text; `text(…)` is stored as it is. */
export type Payload = unknown

export interface SendOptions {
  /** Missing, null and empty mean `default`. */
  type?: string | null
  extra1?: string | null
  extra2?: string | null
  extra3?: string | null
  extra4?: string | null
}

const EXTRAS = ['extra1', 'extra2', 'extra3', 'extra4']

/** The arguments of `send`, as the compiled part takes them. */
export function eventArguments(op: string, queue: string, payload: Payload, options?: SendOptions) {
  const given = args.options(op, options, ['type', ...EXTRAS])
  const name = args.text(op, 'queue', queue)
  const type = args.maybeText(op, 'type', given.type)
  const extra = EXTRAS.map((key) => args.maybeText(op, key, given[key]))
  const { value, text } = body(op, 'payload', payload)
  return [name, type, value, text, extra] as const
}

/** A payload ready to travel. */
export interface Body {
  text: boolean
  value: string | null
}

/** A string is JSON text already; `Text` is opaque; anything else becomes JSON. */
export function body(op: string, name: string, payload: unknown): Body {
  if (payload instanceof Text) return { text: true, value: payload.value }
  if (typeof payload === 'string') return { text: false, value: args.text(op, name, payload) }
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
