// Calls inside the caller's own transaction, on a connection of node-postgres.
import assert from 'node:assert/strict'
import { test } from 'node:test'

import pg from 'pg'
import { Client, text } from 'libpgque'

import { client, pgClient, pgConfig, queue, tick } from './helpers.mjs'

test('a send is part of the transaction that is open there', async (t) => {
  const c = await client(t)
  const q = await queue(c)
  const connection = await pgClient(t)
  const outbox = new Client(connection)
  await connection.query('create temporary table orders (n integer)')
  for (const [n, end] of [
    [1, 'commit'],
    [2, 'rollback'],
  ]) {
    await connection.query('begin')
    await connection.query('insert into orders values ($1)', [n])
    assert.equal(typeof (await outbox.send(q, { n }, { type: 'order', extra1: 'e' })), 'bigint')
    await connection.query(end)
  }
  await tick(c, q)
  assert.deepEqual(
    (await c.receive(q, 'reader')).map((m) => m.json()),
    [{ n: 1 }],
  )
})

test('the whole cycle works there, with every kind of value', async (t) => {
  await client(t)
  const outbox = Client.over(await pgClient(t))
  const q = await queue(outbox)
  await outbox.sendBatch(q, null, [text('a"b\\c'), text(null), text('')])
  await tick(outbox, q)
  const received = await outbox.receive(q, 'reader')
  assert.deepEqual(
    received.map((m) => [m.type, m.payload]),
    [
      [null, 'a"b\\c'],
      [null, null],
      [null, ''],
    ],
  )
  assert.ok(Math.abs(received[0].createdAt - Date.now()) < 60_000)
  assert.equal(await outbox.finish(received[0].batchId), 1)
  assert.equal((await outbox.queueInfo(q)).objects()[0].queue_name, q)
})

test("the driver's error is the cause of ours", async (t) => {
  await client(t)
  const outbox = new Client(await pgClient(t))
  const [first, second] = await Promise.all([
    outbox.send('no such a', 1).catch((e) => e),
    outbox.receive('no such b', 'c').catch((e) => e),
  ])
  assert.equal(first.code, 'PGQUE_QUEUE_NOT_FOUND')
  assert.ok(first.cause instanceof pg.DatabaseError)
  assert.match(first.cause.message, /no such a/)
  assert.match(second.cause.message, /no such b/)
})

test('what needs a connection of ours is a conflict', async (t) => {
  const outbox = new Client(await pgClient(t))
  for (const call of [() => outbox.begin(), () => outbox.execute('select 1'), () => outbox.install()]) {
    await assert.rejects(call, { code: 'PGQUE_CONFLICT' })
  }
  await outbox.close()
})

test('a lost connection is a connection error', async (t) => {
  const connection = new pg.Client(pgConfig())
  await connection.connect()
  const outbox = new Client(connection)
  await connection.end()
  await assert.rejects(outbox.version(), { code: 'PGQUE_CONNECTION', retriable: true })
  // A driver that throws at once is no worse.
  const broken = new Client({
    query() {
      throw new Error('broken')
    },
  })
  await assert.rejects(broken.version(), { code: 'PGQUE_CONNECTION', message: 'broken' })
})

test('whatever a connection fails with ends the call', async () => {
  for (const reason of [undefined, null, 'gone', { code: 7 }]) {
    const failing = Client.over({ query: () => Promise.reject(reason) })
    await assert.rejects(failing.version(), { code: 'PGQUE_CONNECTION', message: /./ })
  }
})

test('a pool is a connection too', async (t) => {
  const c = await client(t)
  const q = await queue(c)
  const pool = new pg.Pool(pgConfig())
  t.after(() => pool.end())
  assert.equal(typeof (await new Client(pool).send(q, 1)), 'bigint')
})
