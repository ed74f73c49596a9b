// Errors: classes, fields, arguments of the wrong type.
import assert from 'node:assert/strict'
import { test } from 'node:test'

import * as pgque from 'libpgque'

import { client, DSN, queue } from './helpers.mjs'

test('an error carries its facts', async (t) => {
  const c = await client(t)
  const error = await c.send('no such queue', 1).catch((e) => e)
  assert.ok(error instanceof pgque.PgqueQueueNotFoundError)
  assert.ok(error instanceof pgque.PgqueError)
  assert.ok(error instanceof Error)
  const { name, code, kind, number, op, sqlstate, retriable, configuredLimit } = error
  assert.deepEqual(
    { name, code, kind, number, op, sqlstate, retriable, configuredLimit },
    {
      name: 'PgqueQueueNotFoundError',
      code: 'PGQUE_QUEUE_NOT_FOUND',
      kind: 'queue_not_found',
      number: 5,
      op: 'send',
      sqlstate: 'PQ001',
      retriable: false,
      configuredLimit: null,
    },
  )
  assert.match(error.stack, /^PgqueQueueNotFoundError: .*no such queue[^]*errors\.test\.mjs/)
})

test('an overflow carries the limit', async (t) => {
  const c = await client(t)
  const q = await queue(c)
  await c.sendBatch(q, 't', [1, 2, 3])
  await c.forceNextTick(q)
  await c.ticker(q)
  await assert.rejects(c.receive(q, 'reader', { maxMessages: 2 }), {
    name: 'PgqueOverflowError',
    configuredLimit: 2,
  })
})

test('each class belongs to one kind', () => {
  const classes = Object.entries(pgque).filter(([name]) => /^Pgque\w+Error$/.test(name))
  assert.equal(classes.length, 15)
  for (const [name, Class] of classes) assert.equal(Class.prototype.name, name)
})

test('an argument of the wrong type is invalid input that names it', async (t) => {
  const c = await client(t)
  const cases = {
    queue: () => c.send(5),
    type: () => c.send('q', 1, { type: 5 }),
    extra2: () => c.send('q', 1, { extra2: {} }),
    "unknown option 'typ'": () => c.send('q', 1, { typ: 'a' }),
    consumer: () => c.subscribe('q', undefined),
    subconsumer: () => c.touchSubconsumer('q', 'c', null),
    maxMessages: () => c.receive('q', 'c', { maxMessages: '5' }),
    deadInterval: () => c.receiveCoop('q', 'c', 's', { deadInterval: true }),
    batchId: () => c.ack(5),
    'batchId must be a 64-bit': () => c.ack(2n ** 63n),
    message: () => c.nack(1n, 'x'),
    retryAfter: () => c.nack(1n, 1n, { retryAfter: new Date() }),
    'verdicts must be pairs': () => c.finish(1n, 5),
    'verdicts[0]': () => c.finish(1n, [[1n, 'retry']]),
    convertNormal: () => c.subscribeSubconsumer('q', 'c', 's', { convertNormal: 1 }),
    force: () => c.dropQueue('q', { force: 'yes' }),
    'params[0]': () => c.execute('select 1', [{}]),
    channel: () => c.listen(7),
    timeout: () => c.notification('soon'),
    dsn: () => pgque.connect(),
    handler: async () => new pgque.Consumer(DSN, { queue: 'q', name: 'c' }).on('a', 'b'),
    'queue must be a string': async () => new pgque.Consumer(DSN),
    pollInterval: async () => new pgque.Consumer(DSN, { queue: 'q', name: 'c', pollInterval: {} }),
    'connection must be a node-postgres client': async () => new pgque.Client(DSN),
    lone: () => c.createQueue('\ud800'),
  }
  for (const [name, call] of Object.entries(cases)) {
    await assert.rejects(call, (error) => {
      assert.ok(error instanceof pgque.PgqueInvalidInputError, `${name}: ${error}`)
      assert.ok(error.message.includes(name), `${name}: ${error.message}`)
      return true
    })
  }
})

test('wrong options are the configuration', () => {
  const options = { queue: 'q', name: 'c' }
  for (const make of [
    () => new pgque.Consumer(DSN, { ...options, polInterval: 1 }),
    () => new pgque.Consumer(DSN, { ...options, deadInterval: 5 }),
    () => new pgque.Consumer(DSN, { ...options, pollInterval: -1 }),
    () => new pgque.Consumer(DSN, { ...options, unknownHandlerPolicy: 'drop' }),
    () => new pgque.Consumer('nonsense=1', options),
    () => new pgque.Ticker(DSN, { tickInterval: NaN }),
  ]) {
    assert.throws(make, { code: 'PGQUE_CONFIGURATION' })
  }
})

test('a server that is not there is a connection error without the password', async () => {
  const error = await pgque.connect('postgresql://u:s3cret@localhost:1/d').catch((e) => e)
  assert.ok(error instanceof pgque.PgqueConnectionError)
  assert.ok(error.retriable)
  assert.ok(!String(error.stack).includes('s3cret'))
})
