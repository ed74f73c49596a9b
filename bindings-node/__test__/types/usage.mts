// Only compiled: what a program writes has the types that it expects.
import pg from 'pg'
import {
  Client,
  connect,
  Consumer,
  dead,
  type Health,
  type Message,
  PgqueError,
  PgqueQueueNotFoundError,
  Producer,
  type ProducerStats,
  type ResultSet,
  retry,
  setLogger,
  text,
  Ticker,
} from 'libpgque'

const client: Client = await connect('postgresql://localhost/db', { autocommit: false })
const id: bigint = await client.send('orders', { total: 12n }, { type: 'created', extra1: null })
const ids: bigint[] = await client.sendBatch('orders', null, [text('a'), text(null)])
await client.sendBatch('orders', 'created', [{ a: 1 }, 'true'])

const messages: Message[] = await client.receive('orders', 'mailer', { maxMessages: 10 })
for (const message of messages) {
  const type: string | null = message.type
  const payload: string | null = message.payload
  const created: Date = message.createdAt
  const micros: bigint = message.createdAtMicros
  const { total } = message.json<{ total: number }>()
  void [type, payload, created, micros, total.toFixed(2)]
  await client.nack(message.batchId, message, { retryAfter: '5 minutes', reason: 'later' })
  await client.finish(message.batchId, [[message, dead('no')]])
}
// @ts-expect-error the type may be null
const length: number = messages[0].type.length
// @ts-expect-error ids are bigints
await client.ack(5)
// @ts-expect-error no such option
await client.receive('orders', 'mailer', { max: 5 })

const n: number = await client.transaction(async (same) => {
  await same.send('orders', 'null')
  return same.ack(1n)
})
const info: ResultSet = await client.queueInfo()
for (const row of info) void row.queue_name
const tick: bigint | null = await client.ticker('orders')

const producer = new Producer('postgresql://localhost/db', { linger: 0.001, batchSizeMax: 100 })
const produced: bigint = await producer.send('orders', { total: 12n }, { type: 'created', extra1: null })
await producer.flush()
await producer.close({ deadline: 5 })
const produceStats: ProducerStats = producer.stats()
const why: string | null = produceStats.lastError
// @ts-expect-error no such option
new Producer('', { lingr: 1 })
// @ts-expect-error a deadline is a number of seconds
await producer.close({ deadline: '5 s' })

const consumer = new Consumer('postgresql://localhost/db', { queue: 'orders', name: 'mailer', retryAfter: 5 })
consumer
  .on('created', async (message) => void message.json())
  .on('*', (message) => (message.retryCount === null ? retry({ after: 1 }) : undefined))
await consumer.run({ signal: AbortSignal.timeout(10) })
consumer.stop()
// @ts-expect-error a handler is a function
consumer.on('created', 5)
// @ts-expect-error the policy is nack or ack
new Consumer('', { queue: 'q', name: 'n', unknownHandlerPolicy: 'drop' })

const whole = new Consumer('', {
  queue: 'q',
  name: 'n',
  retryBackoff: 'exponential',
  concurrency: 4,
  orderedBy: 'extra1',
  stopPolicy: 'handback',
  stopTimeout: 5,
  subconsumer: 'auto',
  ticker: true,
})
whole
  .onBatch((all) => all.map((message, i) => (message.type === 'a' ? retry() : i % 2 === 0)))
  .onBatch(async (all) => new Map(all.map((message) => [message.msgId, true])))
  .onBatch(async () => {
    throw dead('all of them')
  })
  .onFailure((attempt, error) => (error instanceof TypeError ? dead() : 2 ** attempt))
  .onFailure(async () => '5 minutes')
  .onFailure((attempt) => console.log(attempt))
  .beforeMessage((message) => console.log(message.msgId))
  .afterMessage((message, outcome: 'ack' | 'retry' | 'dead' | 'failed', seconds) =>
    console.log(seconds.toFixed(1)),
  )
// @ts-expect-error a batch is not answered with a number
whole.onBatch((all) => all.length)
new Consumer('', { queue: 'q', name: 'n', transactional: true }).on('a', async (message, client?: Client) => {
  await client?.execute('select $1', [message.msgId])
})
const handled: number = whole.stats().handled
const { status, alive, since, lastError }: Health = whole.health()
const micros: bigint = since.micros
void [handled, status.length, alive === true, micros, lastError?.length]

const ticker = new Ticker('postgresql://localhost/db', { tickInterval: 0.01 })
await ticker.run()
const ticked: bigint = ticker.stats().since.micros
setLogger((level, logger, line) => console.log(level, logger, line), 'debug')

const connection = new pg.Client()
await new Client(connection).send('orders', 1)
await Client.over(new pg.Pool()).send('orders', 1)

try {
  await client.send('nowhere', 1)
} catch (error) {
  if (error instanceof PgqueQueueNotFoundError) console.log(error.code, error.sqlstate, error.cause)
  if (error instanceof PgqueError && !error.uncertain && error.kind === 'overflow')
    console.log(error.configuredLimit?.toFixed())
}
await client.withSignal(AbortSignal.timeout(1000)).receive('orders', 'mail')
const sender: Producer = new Producer('').withSignal(new AbortController().signal)
// @ts-expect-error a controller is not its signal
client.withSignal(new AbortController())
void [id, ids, length, sender, n, tick, produced, why, ticked]
