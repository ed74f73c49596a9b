// Ten thousand calls leave nothing behind.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

import { Client, Producer } from 'libpgque'

import { client, consumer, DSN, pgClient, queue, tick } from './helpers.mjs'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc')

const MEGABYTE = 1024 * 1024

async function resident() {
  for (let round = 0; round < 3; round++) {
    gc()
    // Finalizers run in later turns.
    await new Promise((resolve) => setImmediate(resolve))
  }
  return process.memoryUsage().rss
}

async function growth(calls, call) {
  for (let n = 0; n < calls / 5; n++) await call()
  const before = await resident()
  for (let n = 0; n < calls; n++) await call()
  return ((await resident()) - before) / MEGABYTE
}

test('calls, results and errors are freed', async (t) => {
  const c = await client(t)
  const q = await queue(c)
  await c.sendBatch(
    q,
    't',
    Array.from({ length: 10 }, () => 'x'.repeat(1000)).map((text) => ({ text })),
  )
  await tick(c, q)
  const grown = await growth(2500, async () => {
    await c.execute("select repeat('x', 10000), now(), $1::text", ['a'])
    await c.receive(q, 'reader')
    await c.send('no such queue', 1).catch(() => {})
    await c.touchSubconsumer(q, 'reader', 'nobody').catch(() => {})
  })
  assert.ok(grown < 30, `${grown} MB`)
})

test('what a producer is asked to send is freed', async (t) => {
  const c = await client(t)
  const q = await queue(c)
  const producer = new Producer(DSN)
  t.after(() => producer.close())
  const payload = { text: 'x'.repeat(10_000) }
  const grown = await growth(2500, async () => {
    await Promise.all([producer.send(q, payload), producer.send('no such queue', payload).catch(() => {})])
    producer.stats()
  })
  assert.ok(grown < 30, `${grown} MB`)
})

test('a client for each transaction is freed', async (t) => {
  await client(t)
  const connection = await pgClient(t)
  const grown = await growth(3000, () => new Client(connection).version())
  assert.ok(grown < 15, `${grown} MB`)
})

test('a large batch is handled page by page, each of which is freed', async (t) => {
  const c = await client(t)
  const q = await queue(c)
  const payloads = Array.from({ length: 1000 }, () => ({ text: 'x'.repeat(4000) }))
  for (let n = 0; n < 20; n++) await c.sendBatch(q, 't', payloads)
  await tick(c, q)
  const reader = consumer(q, { pageSize: 100, concurrency: 2 })
  const readings = []
  let seen = 0
  reader
    .beforeMessage(() => {})
    .on('t', async () => {
      if (++seen % 9_000 === 1_000) readings.push(await resident())
      if (seen === 20_000) reader.stop()
    })
  await reader.run()
  const grown = (readings[2] - readings[0]) / MEGABYTE
  assert.equal(reader.stats().batches, 200)
  assert.ok(grown < 30, `${grown} MB of 72`)
})
