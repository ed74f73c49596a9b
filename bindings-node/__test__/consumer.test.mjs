// The consumer's loop as far as it is JavaScript: handlers, verdicts, signals.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { dead, retry, setLogger, Ticker } from 'libpgque'

import { client, consumer, DSN, queue, tick } from './helpers.mjs'

setLogger(null)

/** Runs a consumer until its handlers have seen so many messages. */
async function runUntil(reader, count, handlers) {
  let seen = 0
  for (const [type, handler] of Object.entries(handlers)) {
    reader.on(type, async (message) => {
      if (++seen === count) reader.stop()
      return handler(message)
    })
  }
  await reader.run()
}

test('async handlers are awaited one after the other', async (t) => {
  const c = await client(t)
  const q = await queue(c)
  await c.sendBatch(q, 'a', [1, 2, 3])
  await tick(c, q)
  const order = []
  await runUntil(consumer(q), 3, {
    a: async (message) => {
      order.push(`begin ${message.payload}`)
      await sleep(5)
      order.push(`end ${message.payload}`)
    },
  })
  assert.deepEqual(order, ['begin 1', 'end 1', 'begin 2', 'end 2', 'begin 3', 'end 3'])
  assert.deepEqual(await c.receive(q, 'reader'), [])
})

test('outcomes become verdicts', async (t) => {
  const c = await client(t)
  const q = await queue(c)
  await c.setQueueConfig(q, 'max_retries', '0')
  const outcomes = {
    threw: () => {
      throw new TypeError('broken')
    },
    rejected: async () => Promise.reject('plain text'),
    nothing: () => ({ ignored: true }),
    retried: () => retry({ after: '0 seconds', reason: 'once more' }),
    died: () => dead('for good'),
    half: () => {
      throw new Error('half \ud800')
    },
    wrong: () => retry({ after: {} }),
    unreadable: () => {
      throw Object.defineProperty(new Error(), 'message', { get: () => JSON.parse('') })
    },
  }
  for (const type of Object.keys(outcomes)) await c.send(q, 1, { type })
  await tick(c, q)
  await runUntil(consumer(q), Object.keys(outcomes).length, outcomes)
  const reasons = (await c.dlqInspect(q)).objects().map((letter) => [letter.type, letter.reason])
  const { wrong, ...others } = Object.fromEntries(reasons)
  assert.deepEqual(others, {
    threw: 'broken',
    rejected: 'plain text',
    retried: 'once more',
    died: 'for good',
    half: 'half \ufffd',
    unreadable: 'an error that cannot be read',
  })
  assert.match(wrong, /^after must be seconds or interval text/)
})

test('a large batch comes whole and in order, and the event loop goes on', async (t) => {
  const c = await client(t)
  const q = await queue(c)
  const count = 3500
  await c.sendBatch(
    q,
    'n',
    Array.from({ length: count }, (_, n) => n),
  )
  await tick(c, q)
  const seen = []
  let turns = 0
  const timer = setInterval(() => turns++, 5)
  const busy = () => {
    const end = performance.now() + 0.05
    while (performance.now() < end);
  }
  await runUntil(consumer(q), count, {
    '*': (message) => {
      busy()
      seen.push(Number(message.payload))
    },
  })
  clearInterval(timer)
  assert.deepEqual(
    seen,
    Array.from({ length: count }, (_, n) => n),
  )
  assert.ok(turns > 3, `${turns} turns`)
})

test('an abort signal stops an idle run at once', async (t) => {
  const c = await client(t)
  const reader = consumer(await queue(c))
  const abort = new AbortController()
  const run = reader.run({ signal: abort.signal })
  await sleep(300)
  const started = performance.now()
  abort.abort()
  await run
  assert.ok(performance.now() - started < 500)
})

test('a signal that is aborted already, and a stop before the run, end it at once', async (t) => {
  const c = await client(t)
  const reader = consumer(await queue(c))
  await reader.run({ signal: AbortSignal.abort() })
  reader.stop()
  await reader.run()
})

test('a consumer may run again, but not twice at once', async (t) => {
  const c = await client(t)
  const reader = consumer(await queue(c))
  for (let round = 0; round < 2; round++) {
    const run = reader.run()
    await assert.rejects(reader.run(), { code: 'PGQUE_CONFLICT' })
    reader.stop()
    await run
  }
})

test('an error that time cannot mend ends the run', async (t) => {
  const c = await client(t)
  const q = await queue(c)
  const reader = consumer(q, { name: 'nobody' })
  await assert.rejects(reader.run(), { code: 'PGQUE_CONSUMER_NOT_FOUND' })
  assert.throws(() => reader.on('a', undefined), { code: 'PGQUE_INVALID_INPUT' })
})

test('a ticker delivers, and stops by its signal', async (t) => {
  const c = await client(t)
  const q = await queue(c)
  const abort = new AbortController()
  const ticking = new Ticker(DSN, { tickInterval: 0.01, standbyInterval: 0.1 }).run({ signal: abort.signal })
  const reader = consumer(q)
  const running = runUntil(reader, 1, { '*': () => {} })
  await c.send(q, 1)
  await running
  abort.abort()
  await ticking
})

test('a ticker tells where it stands', async (t) => {
  const c = await client(t)
  const q = await queue(c)
  const ticker = new Ticker(DSN, { standbyInterval: 0.1 })
  const before = ticker.stats()
  assert.deepEqual([before.state, before.ticks, before.lastError], ['stopped', 0, null])
  const ticking = ticker.run()
  await c.send(q, 1)
  while (ticker.stats().ticks === 0) await sleep(10)
  assert.equal(ticker.stats().state, 'leading')
  ticker.stop()
  await ticking
  const after = ticker.stats()
  assert.equal(after.state, 'stopped')
  assert.ok(after.since instanceof Date && after.since.micros > before.since.micros)
  assert.equal(after.reconnects, 0)
})

test('log lines go to the logger, which may fail', async (t) => {
  const c = await client(t)
  const q = await queue(c)
  const lines = []
  const printed = t.mock.method(console, 'error', () => {})
  setLogger((...line) => {
    lines.push(line)
    throw new Error('the logger itself')
  }, 'info')
  t.after(() => setLogger(null))
  const reader = consumer(q)
  const run = reader.run()
  await sleep(300)
  reader.stop()
  await run
  await sleep(50)
  assert.ok(
    lines.some(
      ([level, logger, line]) => level === 'info' && logger === 'pgque' && /listening on/.test(line),
    ),
  )
  assert.ok(printed.mock.callCount() > 0)
})
