// The Node driver of the conformance suite: JSON lines in, library calls, JSON lines out. No assertions.
import { createInterface } from 'node:readline'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'

const require = createRequire(new URL('../../../bindings-node/package.json', import.meta.url))
const pgque = require('libpgque')
const pg = require('pg')

const clients = new Map()
const callers = new Map()
const consumers = new Map()
const tickers = new Map()
const producers = new Map()

/** An error of the caller's own connection. */
class CallerFault extends Error {}

const camel = (name) => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase())

/** The arguments that the request names, by the library's names. */
function pick(request, ...names) {
  const named = names.filter((name) => name in request)
  return Object.fromEntries(named.map((name) => [camel(name), argument(request[name])]))
}

function argument(value) {
  if (value?.special === 'nan') return NaN
  if (value?.special === 'infinity') return Infinity
  return value
}

function known(handles, name) {
  const handle = handles.get(name)
  if (handle === undefined) throw new Error(`no such handle: ${name}`)
  return handle
}

const clientOf = (request) => known(clients, request.client)

// Answers.

const idText = (id) => (id === null ? null : String(id))

function message(m) {
  return {
    msg_id: String(m.msgId),
    batch_id: String(m.batchId),
    type: m.type,
    payload: m.payload,
    retry_count: m.retryCount,
    created_at: String(m.createdAtMicros),
    extra1: m.extra1,
    extra2: m.extra2,
    extra3: m.extra3,
    extra4: m.extra4,
  }
}

function cell(value) {
  if (value === null) return null
  if (Array.isArray(value)) return value.map(cell)
  if (value instanceof pgque.Timestamp) return String(value.micros)
  if (Buffer.isBuffer(value)) return value.toString('hex')
  return String(value)
}

function table(result) {
  return { columns: result.columns, rows: result.rows.map(cell), rows_affected: result.rowsAffected }
}

function fault(error) {
  if (error instanceof CallerFault) {
    const { message, code, severity } = error.cause
    return { kind: 'caller', number: 0, message, sqlstate: severity ? code : null }
  }
  if (!(error instanceof pgque.PgqueError))
    return { kind: 'driver', number: 0, message: String(error?.stack ?? error) }
  return {
    kind: error.kind,
    number: error.number,
    op: error.op,
    message: error.message,
    sqlstate: error.sqlstate,
    detail: error.detail,
    hint: error.hint,
    retriable: error.retriable,
    uncertain: error.uncertain,
    configured_limit: error.configuredLimit,
  }
}

// The caller's own connection.

/** Keywords of libpq, which node-postgres does not read. */
function configuration(dsn) {
  if (/^postgres(ql)?:/.test(dsn)) return { connectionString: dsn }
  const names = { dbname: 'database' }
  const config = {}
  for (const [, name, quoted, bare] of dsn.matchAll(/(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S*))/g)) {
    config[names[name] ?? name] = (quoted ?? bare).replace(/\\(.)/g, '$1')
  }
  return config
}

async function own(call) {
  try {
    return await call()
  } catch (error) {
    throw new CallerFault('caller', { cause: error })
  }
}

async function connectCaller(request) {
  const connection = new pg.Client(configuration(request.dsn))
  // Without a listener the loss of the connection would end the process.
  connection.on('error', (error) => console.error('caller:', error.message))
  await own(() => connection.connect())
  callers.set(request.client, connection)
  clients.set(request.client, new pgque.Client(connection))
}

// Payloads.

function special(name) {
  switch (name) {
    case 'nan':
      return NaN
    case 'lone_surrogate':
      return { text: '\ud800' }
    case 'nul':
      return { text: 'a\0b' }
    case 'unserialisable':
      return () => {}
    case 'big_integer':
      return { n: 123456789012345678901234567890n }
    case 'deep':
      return Array.from({ length: 199 }).reduce((inner) => [inner], [])
  }
  throw new Error(`no such special payload: ${name}`)
}

function payload(request) {
  if ('payload' in request) return request.payload
  if ('text' in request) return pgque.text(request.text)
  return special(request.special)
}

// Consumers and tickers in the background.

function fail() {
  throw new Error('handler failed on purpose')
}

const record = ({ msgId }, client) =>
  client.execute('insert into conformance_effects (msg_id) values ($1)', [msgId])

/** The handlers of one consumer, by the names of what they do. */
function handlers() {
  const failedBefore = new Set()
  const waiting = new Set()
  /** Waits until so many are here at once. */
  const meet = (count) =>
    new Promise((resolve, reject) => {
      const waiter = { go, timer: setTimeout(giveUp, 10_000) }
      function go() {
        clearTimeout(waiter.timer)
        resolve()
      }
      function giveUp() {
        waiting.delete(waiter)
        reject(new Error(`${count} handlers did not meet`))
      }
      waiting.add(waiter)
      if (waiting.size < count) return
      for (const each of waiting) each.go()
      waiting.clear()
    })
  const behaviours = new Map(
    Object.entries({
      ack: () => {},
      fail,
      fail_once: ({ msgId }) => {
        if (failedBefore.has(msgId)) return
        failedBefore.add(msgId)
        fail()
      },
      retry: () => pgque.retry({ after: 0, reason: 'later' }),
      dead: () => pgque.dead('beyond repair'),
      hang: () => sleep(60_000),
      slow: () => sleep(3_000),
      nap: () => sleep(50),
      record: async (message, client) => void (await record(message, client)),
      record_fail: async (message, client) => {
        await record(message, client)
        fail()
      },
      commit: async (_, client) => {
        const error = await client.commit().catch((error) => error)
        return error?.kind === 'conflict' ? pgque.ack() : pgque.dead('commit was not refused')
      },
    }),
  )
  return (behaviour) => {
    const [name, count] = behaviour.split(':')
    return name === 'meet' ? () => meet(Number(count)) : known(behaviours, name)
  }
}

const BATCH_HANDLERS = new Map([
  ['ack', (messages) => messages.map(() => true)],
  ['ack_even', (messages) => messages.map((_, position) => (position % 2 === 0 ? pgque.ack() : undefined))],
  ['fail', fail],
])

const ON_FAILURE = new Map([
  ['dead', () => pgque.dead()],
  ['retry', () => 0],
])

/** Starts it; its outcome is kept until somebody asks. */
function background(runner, more) {
  const ended = runner.run().then(
    () => null,
    (error) => error,
  )
  return { runner, ended, ...more }
}

async function stop(handles, name) {
  const { runner, ended } = known(handles, name)
  handles.delete(name)
  runner.stop()
  const error = await ended
  if (error !== null) throw error
}

function consumerStart(request) {
  const options = pick(request.options ?? {}, ...Object.keys(request.options ?? {}))
  const consumer = new pgque.Consumer(request.dsn, { ...pick(request, 'queue', 'name'), ...options })
  const seen = []
  const hooks = []
  const waiting = new Set()
  const see = (messages) => {
    seen.push(...messages.map(message))
    for (const look of waiting) look()
  }
  const behave = handlers()
  for (const [type, behaviour] of Object.entries(request.handlers ?? {})) {
    const handler = behave(behaviour)
    consumer.on(type, (received, client) => {
      see([received])
      return handler(received, client)
    })
  }
  if (request.batch_handler) {
    const handler = known(BATCH_HANDLERS, request.batch_handler)
    consumer.onBatch((messages) => {
      see(messages)
      return handler(messages)
    })
  }
  if (request.on_failure) consumer.onFailure(known(ON_FAILURE, request.on_failure))
  if (request.hooks) {
    consumer.beforeMessage(({ msgId }) => hooks.push(`before ${msgId}`))
    consumer.afterMessage(({ msgId }, outcome) => hooks.push(`after ${msgId} ${outcome}`))
  }
  consumers.set(request.consumer, background(consumer, { seen, waiting, hooks }))
}

const consumerOf = (request) => known(consumers, request.consumer).runner

/** Counters by the names of the protocol. */
function counters(stats) {
  const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
  return Object.fromEntries(Object.entries(stats).map(([name, value]) => [snake(name), value]))
}

function consumerHealth(request) {
  const { status, alive, since, lastError } = consumerOf(request).health()
  return { status, alive, since: String(since.micros), last_error: lastError }
}

async function consumerSeen({ consumer, count, timeout }) {
  const { seen, waiting } = known(consumers, consumer)
  if (seen.length >= count) return seen
  await new Promise((resolve) => {
    const look = () => {
      if (seen.length >= count) done()
    }
    const timer = setTimeout(() => done(), timeout * 1000)
    const done = () => {
      clearTimeout(timer)
      waiting.delete(look)
      resolve()
    }
    waiting.add(look)
  })
  return seen
}

function tickerStart(request) {
  const options = pick(request.options ?? {}, ...Object.keys(request.options ?? {}))
  tickers.set(request.ticker, background(new pgque.Ticker(request.dsn, options)))
}

function tickerStats(request) {
  const { since, ...stats } = known(tickers, request.ticker).runner.stats()
  return { ...counters(stats), since: String(since.micros) }
}

// Producers.

const producerOf = (request) => known(producers, request.producer)

function producerStart(request) {
  const options = pick(request.options ?? {}, ...Object.keys(request.options ?? {}))
  producers.set(request.producer, new pgque.Producer(request.dsn, options))
}

/** Each payload by a call of its own, so many of them at once. */
async function producerSendMany(request) {
  const producer = producerOf(request)
  const { queue, payloads, tasks } = request
  const options = pick(request, 'type')
  const ids = []
  let next = 0
  const task = async () => {
    while (next < payloads.length) {
      const index = next++
      ids[index] = String(await producer.send(queue, payloads[index], options))
    }
  }
  await Promise.all(Array.from({ length: tasks }, task))
  return ids
}

function producerStats(request) {
  const { lastError, ...stats } = producerOf(request).stats()
  return counters(stats)
}

// Operations.

/** The outcome of each of the request's events, which need no more than promises to be sent one behind the other. */
async function sendAll(request, on, then) {
  const sent = request.events.map(async (event) => on.send(event.queue, payload(event), sendOptions(event)))
  const [end, ...settled] = await Promise.allSettled([then(), ...sent])
  const failed = [end, ...settled].find(({ reason }) => reason !== undefined)
  const outcomes = settled.map(({ value, reason }) =>
    reason === undefined ? { id: String(value) } : { error: fault(reason) },
  )
  return { outcomes, flush: failed === undefined ? null : fault(failed.reason) }
}

const sendOptions = (request) => pick(request, 'type', 'extra1', 'extra2', 'extra3', 'extra4')
const nothing = async (promise) => {
  await promise
  return null
}
const receive = async (promise) => (await promise).map(message)
const result = async (promise) => table(await promise)
const id = async (promise) => idText(await promise)
/** Missing arguments at the end are not passed. */
const given = (request, ...names) => names.filter((name) => name in request).map((name) => request[name])

const member = (r) => [r.queue, r.consumer, r.subconsumer]

function verdict({ msg_id, verdict, ...rest }) {
  const { after, reason } = pick(rest, 'after', 'reason')
  return [BigInt(msg_id), new pgque.Verdict(verdict, after, reason)]
}

const OPERATIONS = {
  hello: async () => ({ language: 'node', version: pgque.VERSION, operations: Object.keys(OPERATIONS) }),
  connect: async (r) => {
    clients.set(r.client, await pgque.connect(r.dsn, pick(r, 'autocommit')))
    return null
  },
  connect_caller: (r) => nothing(connectCaller(r)),
  caller_execute: (r) => nothing(own(() => known(callers, r.client).query(r.sql))),
  close: (r) => nothing(clientOf(r).close()),
  begin: (r) => nothing(clientOf(r).begin()),
  commit: (r) => nothing(clientOf(r).commit()),
  rollback: (r) => nothing(clientOf(r).rollback()),
  execute: (r) => result(clientOf(r).execute(r.sql, ...given(r, 'params'))),
  listen: (r) => nothing(clientOf(r).listen(r.channel)),
  unlisten: (r) => nothing(clientOf(r).unlisten(r.channel)),
  notification: async (r) => {
    const arrived = await clientOf(r).notification(r.timeout)
    return arrived && { channel: arrived.channel, payload: arrived.payload }
  },
  capabilities: async (r) => {
    const { serverVersion, finish, tickerPending, pages } = await clientOf(r).capabilities()
    return { server_version: serverVersion, finish, ticker_pending: tickerPending, pages }
  },
  version: (r) => clientOf(r).version(),
  send: (r) => id(clientOf(r).send(r.queue, payload(r), sendOptions(r))),
  pipelined: (r) => sendAll(r, clientOf(r), () => (r.commit ? clientOf(r).commit() : null)),
  send_batch: async (r) => {
    const payloads = 'texts' in r ? r.texts.map(pgque.text) : r.payloads
    return (await clientOf(r).sendBatch(r.queue, r.type, payloads)).map(String)
  },
  subscribe: (r) => clientOf(r).subscribe(r.queue, r.consumer),
  unsubscribe: (r) => clientOf(r).unsubscribe(r.queue, r.consumer),
  subscribe_subconsumer: (r) => clientOf(r).subscribeSubconsumer(...member(r), pick(r, 'convert_normal')),
  unsubscribe_subconsumer: (r) => clientOf(r).unsubscribeSubconsumer(...member(r), pick(r, 'batch_handling')),
  touch_subconsumer: (r) => clientOf(r).touchSubconsumer(...member(r)),
  receive: (r) => receive(clientOf(r).receive(r.queue, r.consumer, pick(r, 'max_messages'))),
  receive_coop: (r) =>
    receive(clientOf(r).receiveCoop(...member(r), pick(r, 'max_messages', 'dead_interval'))),
  ack: (r) => clientOf(r).ack(BigInt(r.batch_id)),
  nack: (r) => {
    const options = pick(r, 'retry_after', 'reason')
    return nothing(clientOf(r).nack(BigInt(r.batch_id), BigInt(r.msg_id), options))
  },
  finish: (r) => clientOf(r).finish(BigInt(r.batch_id), r.verdicts.map(verdict)),
  ticker: (r) => id(clientOf(r).ticker(r.queue)),
  ticker_all: (r) => clientOf(r).tickerAll(),
  force_next_tick: (r) => id(clientOf(r).forceNextTick(r.queue)),
  force_tick: (r) => id(clientOf(r).forceTick(r.queue)),
  maint: (r) => clientOf(r).maint(),
  maint_retry_events: (r) => clientOf(r).maintRetryEvents(),
  install: (r) => nothing(clientOf(r).install()),
  uninstall: (r) => nothing(clientOf(r).uninstall()),
  create_queue: (r) => clientOf(r).createQueue(r.queue),
  drop_queue: (r) => clientOf(r).dropQueue(r.queue, pick(r, 'force')),
  set_queue_config: (r) => clientOf(r).setQueueConfig(r.queue, r.name, r.value),
  status: (r) => result(clientOf(r).status()),
  queue_info: (r) => result(clientOf(r).queueInfo(...given(r, 'queue'))),
  consumer_info: (r) => result(clientOf(r).consumerInfo(r.queue, r.consumer)),
  batch_info: (r) => result(clientOf(r).batchInfo(BigInt(r.batch_id))),
  dlq_inspect: (r) => result(clientOf(r).dlqInspect(r.queue, pick(r, 'limit'))),
  dlq_replay: (r) => id(clientOf(r).dlqReplay(BigInt(r.dead_letter_id))),
  dlq_replay_all: async (r) => {
    const { replayed, failed, firstError } = await clientOf(r).dlqReplayAll(r.queue)
    return { replayed, failed, first_error: firstError }
  },
  dlq_redeliver: (r) => id(clientOf(r).dlqRedeliver(BigInt(r.dead_letter_id))),
  dlq_redeliver_all: (r) => clientOf(r).dlqRedeliverAll(r.queue, r.consumer),
  dlq_purge: (r) => clientOf(r).dlqPurge(r.queue, pick(r, 'older_than')),
  consumer_start: async (r) => nothing(consumerStart(r)),
  consumer_seen: (r) => consumerSeen(r),
  consumer_stats: async (r) => counters(consumerOf(r).stats()),
  consumer_health: async (r) => consumerHealth(r),
  consumer_hooks: async (r) => known(consumers, r.consumer).hooks,
  consumer_ask_stop: async (r) => {
    consumerOf(r).stop()
    return null
  },
  consumer_stop: (r) => nothing(stop(consumers, r.consumer)),
  ticker_start: async (r) => nothing(tickerStart(r)),
  ticker_stats: async (r) => tickerStats(r),
  ticker_stop: (r) => nothing(stop(tickers, r.ticker)),
  producer_start: async (r) => nothing(producerStart(r)),
  producer_send: (r) => id(producerOf(r).send(r.queue, payload(r), sendOptions(r))),
  producer_send_many: (r) => producerSendMany(r),
  producer_submit: (r) => sendAll(r, producerOf(r), () => producerOf(r).flush()),
  producer_flush: (r) => nothing(producerOf(r).flush()),
  producer_close: (r) => nothing(producerOf(r).close(pick(r, 'deadline'))),
  producer_stats: async (r) => producerStats(r),
}

async function answer(request) {
  const operation = Object.hasOwn(OPERATIONS, request.op) ? OPERATIONS[request.op] : undefined
  if (operation === undefined) return { id: request.id, unknown: true }
  try {
    return { id: request.id, ok: await operation(request) }
  } catch (error) {
    return { id: request.id, error: fault(error) }
  }
}

pgque.setLogger((level, logger, line) => console.error(`${level} ${logger}: ${line}`), 'info')

for await (const line of createInterface({ input: process.stdin })) {
  const text = JSON.stringify(await answer(JSON.parse(line)))
  await new Promise((resolve) => process.stdout.write(`${text}\n`, resolve))
}
// A handler that still sleeps must not keep the process.
process.exit(0)
