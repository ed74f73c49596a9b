// The producer as far as it is JavaScript: promises, their order, closing, what it leaves behind.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

import { PgqueError, Producer, setLogger, text } from 'libpgque'

import { client, DSN, pgClient, queue, tick } from './helpers.mjs'

setLogger(null)
setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc')

function producer(t, options) {
  const made = new Producer(DSN, options)
  t.after(() => made.close())
  return made
}

async function received(c, queue) {
  await tick(c, queue)
  return c.receive(queue, 'reader', { maxMessages: 100_000 })
}

/** Until the function that it gives is called, whoever sends to the queue has to wait. */
async function blocked(t, queue) {
  const pg = await pgClient(t)
  const { rows } = await pg.query('select queue_data_pfx from pgque.queue where queue_name = $1', [queue])
  await pg.query('begin')
  await pg.query(`lock table ${rows[0].queue_data_pfx} in access exclusive mode`)
  return () => pg.query('rollback')
}

/** So many statements wait for a lock. */
async function waiting(c, count) {
  const sql = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
  while ((await c.execute(sql)).rows[0][0] !== BigInt(count)) await sleep(10)
}

test('calls at once are gathered, in their order, and each gets its own id', async (t) => {
  const c = await client(t)
  const q = await queue(c)
  const p = producer(t)
  const count = 3000
  const ids = await Promise.all(
    Array.from({ length: count }, (_, n) => p.send(q, n, { type: 't', extra1: `x${n}` })),
  )
  const messages = await received(c, q)
  const expected = ids.map((id, n) => [id, String(n), 't', `x${n}`])
  assert.deepEqual(
    messages.map((m) => [m.msgId, m.payload, m.type, m.extra1]),
    expected,
  )
  const { sent, failed, batches, queueLength, lastError } = p.stats()
  assert.deepEqual([sent, failed, queueLength, lastError], [count, 0, 0, null])
  assert.ok(batches < count / 10, `${batches} batches`)
})

test('a bad event fails alone', async (t) => {
  const c = await client(t)
  const q = await queue(c)
  const p = producer(t)
  const outcomes = await Promise.allSettled([
    p.send(q, 1),
    p.send('no such queue here', 2),
    p.send(q, NaN),
    p.send(q, 'no JSON'),
    p.send(q, 3, { typ: 'a' }),
    p.send(q, 4),
  ])
  assert.deepEqual(
    outcomes.map(({ reason }) => reason?.code),
    [undefined, 'PGQUE_QUEUE_NOT_FOUND', ...Array(3).fill('PGQUE_INVALID_INPUT'), undefined],
  )
  const { reason } = outcomes[1]
  assert.deepEqual([reason.op, reason.uncertain, reason instanceof PgqueError], ['send', false, true])
  assert.equal((await received(c, q)).length, 2)
})

test('payloads are those of the client', async (t) => {
  const c = await client(t)
  const q = await queue(c)
  const p = producer(t)
  await p.send(q, { n: 123456789012345678901234567890n })
  await p.send(q, text('no JSON'), { type: '' })
  await p.send(q, text(null))
  await p.send(q)
  assert.deepEqual(
    (await received(c, q)).map(({ type, payload }) => [type, payload]),
    [
      ['default', '{"n": 123456789012345678901234567890}'],
      ['default', 'no JSON'],
      ['default', null],
      ['default', 'null'],
    ],
  )
})

test('flush waits for what is under way, close too, and then nothing is accepted', async (t) => {
  const c = await client(t)
  const q = await queue(c)
  const p = new Producer(DSN)
  const unblock = await blocked(t, q)
  const done = []
  const calls = [p.send(q, 1), p.flush(), p.send(q, 2), p.close()]
  calls.forEach((call, n) => call.then(() => done.push(n)))
  await assert.rejects(p.send(q, 3), { code: 'PGQUE_CLOSED' })
  await assert.rejects(p.flush(), { code: 'PGQUE_CLOSED' })
  await waiting(c, 1)
  assert.deepEqual([done, p.stats().queueLength], [[], 2])
  await unblock()
  await Promise.all(calls)
  assert.deepEqual(
    (await received(c, q)).map((m) => m.payload),
    ['1', '2'],
  )
  await p.close()
  await p[Symbol.asyncDispose]()
})

test('close has a deadline, and tells what nobody knows', async (t) => {
  const c = await client(t)
  const q = await queue(c)
  const p = new Producer(DSN)
  const unblock = await blocked(t, q)
  const sent = assert.rejects(p.send(q, 1), { code: 'PGQUE_CONNECTION', uncertain: true, retriable: false })
  await waiting(c, 1)
  await assert.rejects(p.close({ deadline: 0.1 }), { code: 'PGQUE_TIMEOUT', op: 'close' })
  await sent
  const { failed, uncertain, lastError } = p.stats()
  assert.deepEqual([failed, uncertain], [1, 1])
  assert.match(lastError, /not known/)
  await unblock()
  for (const deadline of [-1, NaN, '5']) {
    await assert.rejects(p.close({ deadline }), { code: 'PGQUE_INVALID_INPUT', message: /deadline/ })
  }
})

test("options are the core's", () => {
  for (const options of [{ linger: -1 }, { batchSizeMax: 1.5 }, { queueBytesMax: 0 }, { lingr: 1 }]) {
    assert.throws(() => new Producer(DSN, options), { code: 'PGQUE_CONFIGURATION', message: /linger|_max/ })
  }
  assert.throws(() => new Producer(5), { code: 'PGQUE_INVALID_INPUT' })
  new Producer(DSN, { linger: 0.001, sendTimeout: undefined })
})

test('a forgotten one leaves nothing open', async (t) => {
  const c = await client(t)
  const q = await queue(c)
  const named = DSN.includes('://')
    ? `${DSN}${DSN.includes('?') ? '&' : '?'}application_name=${q}`
    : `${DSN} application_name=${q}`
  const open = async () => {
    const sql = 'select count(*) from pg_stat_activity where application_name = $1'
    return Number((await c.execute(sql, [q])).rows[0][0])
  }
  await Promise.all([1, 2, 3].map((n) => new Producer(named).send(q, n)))
  for (let look = 0; look < 100 && (await open()) > 0; look++) {
    gc()
    await sleep(20)
  }
  assert.equal(await open(), 0)
  assert.equal((await received(c, q)).length, 3)
})
