// Payloads: what goes in, what comes out, what is refused before it is sent.
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { PgqueInvalidInputError, Text, text } from 'libpgque'

import { client, queue, roundTrip, tick } from './helpers.mjs'

test('values are stored as JSON', async (t) => {
  const c = await client(t)
  const big = 123456789012345678901234567890n
  const cases = [
    [undefined, 'null'],
    [null, 'null'],
    [true, 'true'],
    [-0, '0'],
    [1e300, `1${'0'.repeat(300)}`],
    [big, String(big)],
    [{ n: [big] }, `{"n": [${big}]}`],
    [{ kept: 1, dropped: undefined }, '{"kept": 1}'],
    [[undefined], '[null]'],
    [new Date(0), '"1970-01-01T00:00:00.000Z"'],
    [{ toJSON: (key) => ({ key }) }, '{"key": ""}'],
    [[new String('s'), new Number(1), Object(2n)], '["s", 1, 2]'],
    [{ '': 'é\u2028"\\' }, '{"": "é\u2028\\"\\\\"}'],
    [Object.create(null), '{}'],
    ['{"a":   1}', '{"a": 1}'],
    ['"text"', '"text"'],
  ]
  for (const [value, stored] of cases) {
    assert.equal((await roundTrip(c, value)).payload, stored)
  }
})

test('text is stored as it is', async (t) => {
  const c = await client(t)
  for (const value of ['', 'hello', '{"a":   1}', '🐘', null]) {
    assert.equal((await roundTrip(c, text(value))).payload, value)
    assert.equal((await roundTrip(c, new Text(value))).payload, value)
  }
})

test('what JSON cannot hold is refused, named, and not sent', async (t) => {
  const c = await client(t)
  const q = await queue(c)
  const cycle = { inner: [] }
  cycle.inner.push(cycle)
  const cases = [
    [NaN, /^payload is NaN/],
    [{ a: [Infinity] }, /^payload\.a\[0\] is Infinity/],
    [() => {}, /^payload is a function/],
    [{ f() {} }, /^payload\.f is a function/],
    [{ s: Symbol('s') }, /^payload\.s is a symbol/],
    [cycle, /^payload\.inner\[0\] contains itself/],
    [{ m: new Map() }, /^payload\.m is a Map/],
    [new Set(), /^payload is a Set/],
    [{ b: Buffer.from('b') }, /^payload\.b is binary/],
    [new Float64Array(1), /^payload is binary/],
    [new ArrayBuffer(1), /^payload is binary/],
    ['hello', /^payload is not valid JSON/],
    ['', /^payload is not valid JSON/],
    [{ s: 'a\0b' }, /^payload is not valid JSON.*NUL/],
    [{ s: '\ud800' }, /^payload is not valid JSON/],
    ['"\ud800"', /^payload holds a lone surrogate/],
    [{ toJSON: () => assert.fail('getter') }, /^payload cannot be read as JSON: getter/],
    [Array.from({ length: 5000 }).reduce((inner) => [inner], []), /nested too deeply/],
  ]
  for (const [value, message] of cases) {
    await assert.rejects(c.send(q, value), (error) => {
      assert.ok(error instanceof PgqueInvalidInputError, error)
      assert.match(error.message, message)
      return true
    })
  }
  await tick(c, q)
  assert.deepEqual(await c.receive(q, 'reader'), [])
})

test('the same object twice is not a cycle', async (t) => {
  const shared = { a: 1 }
  const c = await client(t)
  assert.equal((await roundTrip(c, [shared, shared])).payload, '[{"a": 1}, {"a": 1}]')
})

test('a batch names its bad element', async (t) => {
  const c = await client(t)
  const q = await queue(c)
  for (const [payloads, message] of [
    [[1, undefined], /^payloads\[1\] is undefined/],
    [[1, , 3], /^payloads\[1\] is undefined/],
    [[{ a: NaN }], /^payloads\[0\]\.a is NaN/],
    [[1, '{'], /^payloads\[1\] is not valid JSON/],
    [[text('a'), 1], /^payloads\[1\]: a batch is all JSON or all Text/],
    ['12', /^payloads must be an array/],
  ]) {
    await assert.rejects(c.sendBatch(q, 't', payloads), { code: 'PGQUE_INVALID_INPUT', message })
  }
  assert.deepEqual(await c.sendBatch(q, 't', []), [])
  assert.equal((await c.sendBatch(q, null, [text('a'), text(null)])).length, 2)
  await tick(c, q)
  const received = await c.receive(q, 'reader')
  assert.deepEqual(
    received.map((m) => [m.type, m.payload]),
    [
      [null, 'a'],
      [null, null],
    ],
  )
})

test('json() says which message is not JSON', async (t) => {
  const c = await client(t)
  const m = await roundTrip(c, text('hello'))
  assert.throws(() => m.json(), {
    code: 'PGQUE_INVALID_INPUT',
    message: new RegExp(`payload of message ${m.msgId} `),
  })
  assert.equal((await roundTrip(c, text(null))).json(), null)
})
