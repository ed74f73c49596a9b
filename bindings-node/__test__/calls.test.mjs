// Calls: promises, bigints, results, transactions.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'

import { connect, dead, Message, ResultSet, retry, Timestamp } from 'libpgque'

import { client, DSN, queue, tick } from './helpers.mjs'

test('ids are bigints, counts are numbers', async (t) => {
  const c = await client(t)
  const q = await queue(c)
  assert.equal(typeof (await c.send(q, 1)), 'bigint')
  assert.deepEqual(
    (await c.sendBatch(q, 't', [1, 2])).map((id) => typeof id),
    ['bigint', 'bigint'],
  )
  assert.equal(await c.subscribe(q, 'reader'), 0)
  assert.equal(await c.ticker('no such').catch((e) => e.code), 'PGQUE_QUEUE_NOT_FOUND')
  await tick(c, q)
  const [m] = await c.receive(q, 'reader')
  assert.equal(typeof m.msgId, 'bigint')
  assert.equal(await c.ack(m.batchId), 1)
})

test('a message has every field, and shows them', async (t) => {
  const c = await client(t)
  const q = await queue(c)
  const before = Date.now()
  const id = await c.send(q, { a: [1] }, { type: 'made', extra1: 'one', extra4: 'four' })
  await tick(c, q)
  const [m] = await c.receive(q, 'reader')
  assert.ok(m instanceof Message)
  assert.equal(m.msgId, id)
  assert.equal(m.type, 'made')
  assert.deepEqual(m.json(), { a: [1] })
  assert.equal(m.retryCount, null)
  assert.deepEqual([m.extra1, m.extra2, m.extra3, m.extra4], ['one', null, null, 'four'])
  assert.ok(m.createdAt instanceof Date && Math.abs(m.createdAt - before) < 60_000)
  assert.equal(m.createdAtMicros / 1000n, BigInt(m.createdAt.getTime()))
  assert.match(inspect(m), /^Message \{\s+msgId: \d+n/)
  assert.equal(JSON.parse(JSON.stringify(m)).msgId, String(id))
})

test('a time before 1970 is rounded down, as a Date is', () => {
  assert.equal(new Timestamp(-1n).getTime(), -1)
  assert.equal(new Timestamp(-1000n).getTime(), -1)
  assert.equal(new Timestamp(1999n).getTime(), 1)
})

test('nack and finish take a message or its id', async (t) => {
  const c = await client(t)
  const q = await queue(c)
  await c.sendBatch(q, 't', [1, 2, 3])
  await tick(c, q)
  const [a, b, d] = await c.receive(q, 'reader')
  await c.nack(a.batchId, a, { retryAfter: 0, reason: 'first' })
  await c.nack(b.batchId, b.msgId, { retryAfter: '1 second' })
  assert.equal(await c.finish(d.batchId, new Map([[d, dead('third')]])), 1)
  assert.equal(await c.finish(d.batchId, [[d.msgId, retry()]]), 0)
  const [letter] = await c.dlqInspect(q)
  assert.equal(letter.reason, 'third')
  assert.equal(letter.msg_id, d.msgId)
})

test('calls made at once are all answered', async (t) => {
  const c = await client(t)
  const q = await queue(c)
  const ids = await Promise.all(Array.from({ length: 200 }, (_, n) => c.send(q, n)))
  assert.equal(new Set(ids).size, 200)
})

test('execute gives rows, as arrays and as objects', async (t) => {
  const c = await client(t)
  const result = await c.execute(
    `select 9007199254740993::int8 as big, 1.5::float8 as half, 1.50 as exact, true as flag, null as none,
     '{"a":1}'::jsonb as doc, '\\x00ff'::bytea as bytes, array[1, null] as list, 'epoch'::timestamptz as time`,
  )
  assert.ok(result instanceof ResultSet)
  const [row] = result
  assert.equal(row.big, 9007199254740993n)
  assert.equal(row.half, 1.5)
  assert.equal(row.exact, '1.50')
  assert.equal(row.flag, true)
  assert.equal(row.none, null)
  assert.equal(row.doc, '{"a": 1}')
  assert.deepEqual(row.bytes, Buffer.from([0, 255]))
  assert.deepEqual(row.list, [1n, null])
  assert.equal(row.time.micros, 0n)
  assert.deepEqual(result.objects(), [row])
  assert.equal(result.rows[0].length, result.columns.length)
})

test('execute takes parameters of the common types', async (t) => {
  const c = await client(t)
  const date = new Date('2024-05-06T07:08:09.123Z')
  const { rows } = await c.execute(
    'select $1::int8, $2::float8, $3::bool, $4::timestamptz, $5::bytea, $6::text, $7::text',
    [2n ** 62n, 0.25, false, date, Buffer.from('ab'), 'text', undefined],
  )
  assert.deepEqual(rows[0].slice(0, 3), [2n ** 62n, 0.25, false])
  assert.equal(rows[0][3].getTime(), date.getTime())
  assert.deepEqual(rows[0].slice(4), [Buffer.from('ab'), 'text', null])
})

test('a transaction commits what its function did, or nothing', async (t) => {
  const c = await client(t)
  const q = await queue(c)
  assert.equal(await c.transaction(async (same) => (await same.send(q, 'true')) && 'done'), 'done')
  const failure = new Error('on purpose')
  await assert.rejects(
    c.transaction(async (same) => {
      await same.send(q, 'false')
      throw failure
    }),
    failure,
  )
  await tick(c, q)
  assert.deepEqual(
    (await c.receive(q, 'reader')).map((m) => m.payload),
    ['true'],
  )
})

test('a transaction whose failure was swallowed is not committed silently', async (t) => {
  const c = await client(t)
  const run = c.transaction((same) => same.execute('select 1/0').catch(() => {}))
  await assert.rejects(run, { name: 'PgqueServerError', op: 'commit', sqlstate: '25P02' })
})

test('close twice is fine; a closed client says so', async () => {
  const c = await connect(DSN)
  await c.close()
  await c.close()
  await assert.rejects(c.version(), { code: 'PGQUE_CLOSED' })
})
