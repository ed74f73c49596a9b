// Abort signals: they end calls that wait, and what the server does for them.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { Client, connect, Producer } from 'libpgque'

import { client, DSN, pgClient, queue } from './helpers.mjs'

const SLEEP = 'select pg_sleep(59)'

/** So many sessions sleep so long. */
async function sleeping(c) {
  const sql = "select count(*) from pg_stat_activity where query = $1 and state = 'active'"
  return (await c.execute(sql, [SLEEP])).rows[0][0]
}

test('an abort ends the call and the statement, and the connection goes on', async (t) => {
  const [watching, c] = [await client(t), await client(t)]
  const abort = new AbortController()
  const call = c.withSignal(abort.signal).execute(SLEEP)
  while ((await sleeping(watching)) === 0n) await sleep(10)
  const reason = new Error('enough')
  abort.abort(reason)
  await assert.rejects(call, { code: 'PGQUE_INTERRUPTED', op: 'execute', cause: reason })
  assert.deepEqual((await c.execute('select 1')).rows, [[1n]])
  assert.equal(await sleeping(watching), 0n)
})

test('an abort ends a wait for a notification, and a later call at once', async (t) => {
  const c = await client(t)
  const listening = c.withSignal(AbortSignal.timeout(100))
  await assert.rejects(listening.notification(), { kind: 'interrupted' })
  await assert.rejects(listening.version(), { kind: 'interrupted', op: 'version' })
  assert.ok(await c.version())
})

test('an abort ends an attempt to connect', async (t) => {
  const silent = createServer().listen(0, '127.0.0.1')
  t.after(() => silent.close())
  await once(silent, 'listening')
  const signal = AbortSignal.timeout(100)
  const attempt = connect(`host=127.0.0.1 port=${silent.address().port} connect_timeout=30`, { signal })
  await assert.rejects(attempt, { kind: 'interrupted', op: 'connect' })
  await assert.rejects(connect(DSN, { signal: AbortSignal.abort() }), { kind: 'interrupted' })
  await assert.rejects(connect(DSN, { signal: 'now' }), { kind: 'invalid_input' })
})

test('an aborted transaction is rolled back', async (t) => {
  const c = await client(t)
  const q = await queue(c)
  const abort = new AbortController()
  const work = c.withSignal(abort.signal).transaction(async (tx) => {
    await tx.send(q, 1)
    abort.abort()
    await tx.send(q, 2)
  })
  await assert.rejects(work, { kind: 'interrupted' })
  await c.begin() // refused while one is open
  await c.rollback()
})

test('an abort ends a call on a connection of yours', async (t) => {
  const pg = await pgClient(t)
  const slow = { query: (config) => pg.query('select pg_sleep(2)').then(() => pg.query(config)) }
  const call = new Client(slow).withSignal(AbortSignal.timeout(100)).version()
  await assert.rejects(call, { kind: 'interrupted' })
})

test('an abort ends the wait of a sender; what was accepted is sent all the same', async (t) => {
  const c = await client(t)
  const q = await queue(c)
  const pg = await pgClient(t)
  const { rows } = await pg.query('select queue_data_pfx from pgque.queue where queue_name = $1', [q])
  await pg.query('begin')
  await pg.query(`lock table ${rows[0].queue_data_pfx} in access exclusive mode`)
  const producer = new Producer(DSN)
  t.after(() => producer.close())
  const sender = producer.withSignal(AbortSignal.timeout(200))
  await assert.rejects(sender.send(q, 1), { kind: 'interrupted', op: 'send' })
  await assert.rejects(sender.flush(), { kind: 'interrupted', op: 'flush' })
  await pg.query('rollback')
  await producer.flush()
  assert.equal(producer.stats().sent, 1)
})
