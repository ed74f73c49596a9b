// What the consumer's options ask of JavaScript: lanes of promises, batch handlers, callbacks, contexts, giving up.
import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { ack, retry, setLogger } from 'libpgque'

import { client, consumer, queue, tick } from './helpers.mjs'

setLogger(null)

/** A queue with messages of those types, ticked. */
async function filled(c, types) {
  const q = await queue(c)
  for (const [payload, type] of types.entries()) await c.send(q, payload, { type })
  await tick(c, q)
  return q
}

/** Why messages were dead-lettered, in the order of the messages. */
async function reasons(c, q) {
  const letters = (await c.dlqInspect(q)).objects()
  return letters.sort((a, b) => Number(a.msg_id - b.msg_id)).map((letter) => letter.reason)
}

test('so many promises are under way at once', async (t) => {
  const c = await client(t)
  const reader = consumer(await filled(c, Array(9).fill('a')), { concurrency: 3 })
  let [inside, most, seen] = [0, 0, 0]
  reader.on('a', async () => {
    most = Math.max(most, ++inside)
    await sleep(20)
    inside--
    if (++seen === 9) reader.stop()
  })
  await reader.run()
  assert.deepEqual([most, seen, inside], [3, 9, 0])
})

test('hooks share the context of their handler, and of no other', async (t) => {
  const c = await client(t)
  const reader = consumer(await filled(c, Array(12).fill('a')), { concurrency: 3 })
  const context = new AsyncLocalStorage()
  const seen = []
  reader
    .beforeMessage(({ msgId }) => {
      seen.push(['before', context.getStore()])
      context.enterWith(msgId)
    })
    .on('a', async ({ msgId }) => {
      await sleep(Math.random() * 10)
      seen.push(['handler', context.getStore() === msgId])
    })
    .afterMessage(({ msgId }, outcome, seconds) => {
      seen.push(['after', context.getStore() === msgId, outcome, seconds >= 0 && seconds < 10])
      if (seen.length === 36) reader.stop()
    })
  await reader.run()
  const of = (name) => seen.filter(([which]) => which === name)
  assert.deepEqual(of('before'), Array(12).fill(['before', undefined]))
  assert.deepEqual(of('handler'), Array(12).fill(['handler', true]))
  assert.deepEqual(of('after'), Array(12).fill(['after', true, 'ack', true]))
  assert.equal(context.getStore(), undefined)
})

test('hooks that fail are logged and change nothing', async (t) => {
  const c = await client(t)
  const q = await filled(c, ['a', 'b'])
  const lines = []
  setLogger((...line) => lines.push(line), 'error')
  t.after(() => setLogger(null))
  const reader = consumer(q)
  reader
    .beforeMessage(() => {
      throw new Error('at once')
    })
    .afterMessage(async () => Promise.reject('later'))
    .on('*', ({ type }) => type === 'b' && reader.stop())
  await reader.run()
  const told = ['before_message failed: Error: at once', "after_message failed: 'later'"]
  assert.equal(lines.length, 4)
  for (const [i, [level, logger, line]] of lines.entries()) {
    assert.deepEqual([level, logger], ['error', 'pgque.consumer.reader'])
    assert.ok(line.startsWith(`hook ${told[i % 2]}`), line)
  }
  assert.deepEqual(await c.receive(q, 'reader'), [])
  assert.equal(reader.stats().handled, 2)
})

test('a log line says where a handler failed, once for a batch', async (t) => {
  const c = await client(t)
  const lines = []
  setLogger((level, logger, line) => lines.push([level, logger, line]), 'error')
  t.after(() => setLogger(null))
  const single = consumer(await filled(c, ['a', 'b']))
  single.on('a', function named() {
    throw new Error('no luck', { cause: new TypeError('deeper') })
  })
  single.on('b', () => {
    single.stop()
    return Promise.reject('plain text')
  })
  await single.run()
  const whole = consumer(await filled(c, ['a', 'a', 'a']))
  whole.onBatch(function together() {
    whole.stop()
    throw new Error('none of them')
  })
  await whole.run()
  while (lines.length < 5) await sleep(5)
  assert.deepEqual(
    new Set(lines.map(([level, logger]) => `${level} ${logger}`)),
    new Set(['error pgque.consumer.reader']),
  )
  const [a, b, first, ...others] = lines.map(([, , line]) =>
    line.replace(/^handler failed for msg_id=\d+, nacking: /, ''),
  )
  assert.match(a, /^Error: no luck\n +at .*named.*handling\.test\.mjs:\d+.*TypeError: deeper/s)
  assert.equal(b, 'plain text')
  assert.match(first, /^Error: none of them\n +at .*together.*handling\.test\.mjs:\d+/s)
  assert.deepEqual(others, ['none of them', 'none of them'])
})

test('the callback for failures decides, with what was thrown', async (t) => {
  const c = await client(t)
  const q = await filled(c, ['delay', 'verdict', 'reason', 'nothing', 'wrong', 'throws', 'last'])
  await c.setQueueConfig(q, 'max_retries', '0')
  const answers = {
    delay: () => '0 seconds',
    verdict: async () => retry(),
    reason: () => retry({ reason: 'a better one' }),
    nothing: () => undefined,
    wrong: () => ({}),
    throws: () => {
      throw new Error('the callback itself')
    },
    last: () => ack(),
  }
  const attempts = []
  const reader = consumer(q)
  reader
    .on('*', ({ type }) => {
      if (type === 'last') reader.stop()
      throw Object.assign(new Error(`no ${type}`), { type })
    })
    .onFailure((attempt, error) => {
      attempts.push(attempt)
      return answers[error.type]()
    })
  await reader.run()
  assert.deepEqual(attempts, Array(7).fill(1))
  const expected = ['no delay', 'no verdict', 'a better one', 'no nothing', 'no wrong', 'no throws']
  assert.deepEqual(await reasons(c, q), expected)
  assert.equal(reader.stats().failed, 7)
})

test('the answers of a batch handler become verdicts', async (t) => {
  const c = await client(t)
  const [good, later] = [ack(), retry({ reason: 'later' })]
  const broken = () => {
    throw new TypeError('broken')
  }
  const cases = [
    [() => [true, good, later], ['later']],
    [([a, b, last]) => new Map([a, b].map(({ msgId }) => [msgId, true])).set(last.msgId, later), ['later']],
    [([a, b, last]) => new Map([[a, later], [b, true], [last, good]]), ['later']], // prettier-ignore
    [async () => good, []],
    [() => [true], Array(2).fill('the handler gave no verdict')],
    [() => [true, false, null], Array(2).fill('the handler gave no verdict')],
    [() => undefined, Array(3).fill('the handler gave no verdict')],
    [() => [true, true, 'yes'], ["a verdict is true, ack(), retry() or dead(), got 'yes'"]],
    [() => 'yes', Array(3).fill("the verdicts must be an array or a Map, got 'yes'")],
    [broken, Array(3).fill('broken')],
  ]
  for (const [handler, expected] of cases) {
    const q = await filled(c, ['a', 'b', 'c'])
    await c.setQueueConfig(q, 'max_retries', '0')
    const reader = consumer(q)
    const outcomes = []
    reader
      .onBatch((messages) => {
        reader.stop()
        return handler(messages)
      })
      .afterMessage((_, outcome) => outcomes.push(outcome))
    await reader.run()
    assert.deepEqual(await reasons(c, q), expected, String(handler))
    assert.equal(outcomes.filter((outcome) => outcome !== 'ack').length, expected.length, String(handler))
    assert.deepEqual(await c.receive(q, 'reader'), [])
  }
})

test('a verdict may be thrown', async (t) => {
  const c = await client(t)
  const q = await filled(c, ['a'])
  await c.setQueueConfig(q, 'max_retries', '0')
  const reader = consumer(q)
  reader.on('a', async () => {
    reader.stop()
    throw retry({ reason: 'thrown' })
  })
  await reader.run()
  assert.deepEqual(await reasons(c, q), ['thrown'])
  assert.equal(reader.stats().failed, 0)
})

test('handlers are either by type or of batches', async (t) => {
  const q = await queue(await client(t))
  const byType = consumer(q).on('a', () => {})
  assert.throws(() => byType.onBatch(() => []), { code: 'PGQUE_CONFLICT' })
  const whole = consumer(q).onBatch(() => [])
  assert.throws(() => whole.on('a', () => {}), { code: 'PGQUE_CONFLICT' })
  for (const register of ['onBatch', 'onFailure', 'beforeMessage', 'afterMessage']) {
    assert.throws(() => consumer(q)[register]({}), { code: 'PGQUE_INVALID_INPUT' })
  }
})

test('the client of a transaction is for one call of the handler', async (t) => {
  const c = await client(t)
  const q = await filled(c, ['a'])
  const other = await queue(c)
  const reader = consumer(q, { transactional: true })
  let kept
  reader.on('a', async (_, transaction) => {
    kept = transaction
    await assert.rejects(transaction.commit(), { code: 'PGQUE_CONFLICT' })
    await transaction.close()
    await transaction.send(other, 'effect'.length)
    reader.stop()
  })
  await reader.run()
  await assert.rejects(kept.send(other, 2), { code: 'PGQUE_CLOSED' })
  await tick(c, other)
  const [effect, ...more] = await c.receive(other, 'reader')
  assert.deepEqual([effect.payload, more], ['6', []])
})

test('without a transaction a handler gets no client', async (t) => {
  const reader = consumer(await filled(await client(t), ['a']))
  let given = 'nothing yet'
  reader.on('a', (_, transaction) => {
    given = transaction
    reader.stop()
  })
  await reader.run()
  assert.equal(given, undefined)
})

test('a second stop ends the run beside a handler, whose lane ends with it', async (t) => {
  const q = await filled(await client(t), ['a', 'b'])
  const reader = consumer(q)
  const seen = []
  let goOn
  reader.on('*', ({ type }) => {
    seen.push(type)
    reader.stop()
    reader.stop()
    return new Promise((resolve) => (goOn = resolve))
  })
  await reader.run()
  const outcome = { ...reader.stats() }
  goOn()
  await sleep(50)
  assert.deepEqual(seen, ['a'])
  assert.deepEqual(reader.stats(), outcome)
})

test('what is not begun when the run is forced to end is not begun any more', async (t) => {
  const reader = consumer(await filled(await client(t), ['a']))
  let handled = 0
  let goOn
  reader
    .beforeMessage(() => {
      reader.stop()
      reader.stop()
      return new Promise((resolve) => (goOn = resolve))
    })
    .on('a', () => handled++)
  await reader.run()
  goOn()
  await sleep(20)
  assert.equal(handled, 0)
})

test('a handler that is given up has no transaction any more', async (t) => {
  const c = await client(t)
  const q = await filled(c, ['a'])
  const reader = consumer(q, { transactional: true })
  let kept
  reader.on('a', async (_, transaction) => {
    kept = transaction
    await transaction.send(q, 'undone'.length)
    reader.stop()
    reader.stop()
    await new Promise(() => {})
  })
  await reader.run()
  await assert.rejects(kept.send(q, 2), { code: 'PGQUE_CLOSED' })
  await c.maintRetryEvents()
  await tick(c, q)
  const messages = await c.receive(q, 'reader')
  assert.deepEqual(messages.map((m) => m.type), ['a']) // prettier-ignore
})

test('counters and health are readable at any time', async (t) => {
  const c = await client(t)
  const reader = consumer(await filled(c, ['a', 'b']))
  assert.deepEqual(
    [reader.health().status, reader.health().alive, reader.health().lastError],
    ['stopped', false, null],
  )
  let inside
  reader.on('*', ({ type }) => {
    inside = reader.health()
    if (type === 'b') reader.stop()
  })
  await reader.run()
  assert.deepEqual([inside.status, inside.alive, inside.lastErrorAt], ['handling', true, null])
  assert.ok(Math.abs(Date.now() - inside.since) < 60_000)
  const { batches, received, handled, batchSize, handedBack } = reader.stats()
  assert.deepEqual({ batches, received, handled, batchSize, handedBack }, {
    batches: 1, received: 2, handled: 2, batchSize: 2, handedBack: 0,
  }) // prettier-ignore
  const nobody = consumer('nowhere')
  await assert.rejects(nobody.run(), { code: 'PGQUE_QUEUE_NOT_FOUND' })
  assert.match(nobody.health().lastError, /nowhere/)
})
