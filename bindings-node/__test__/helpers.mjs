// What the tests share: the server, queues of their own, ticks by hand.
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

import pg from 'pg'
import { connect, Consumer } from 'libpgque'

/** A superuser's, on a throw-away server. */
export const DSN = process.env.PGQUE_TEST_DSN
if (!DSN) throw new Error('set PGQUE_TEST_DSN to the connection string of a throw-away server')

/** A client on a database with the engine; closed at the end of the test. */
export async function client(t) {
  const opened = await connect(DSN)
  t.after(() => opened.close())
  await opened.install()
  return opened
}

/** A queue and its one consumer, both new. */
export async function queue(client) {
  const name = `node_${randomUUID().slice(0, 8)}`
  await client.createQueue(name)
  await client.subscribe(name, 'reader')
  return name
}

export async function tick(client, queue) {
  await client.forceNextTick(queue)
  await client.ticker(queue)
}

/** Sends, ticks and receives: what a payload looks like on the other side. */
export async function roundTrip(client, payload, options) {
  const name = await queue(client)
  await client.send(name, payload, options)
  await tick(client, name)
  const [message] = await client.receive(name, 'reader')
  return message
}

export function consumer(queue, options = {}) {
  return new Consumer(DSN, { queue, name: 'reader', ...options })
}

/** node-postgres reads URIs only; this reads keywords for it. */
export function pgConfig() {
  if (/^postgres(ql)?:/.test(DSN)) return { connectionString: DSN }
  const pairs = [...DSN.matchAll(/(\w+)=('([^']*)'|\S+)/g)].map(([, name, bare, quoted]) => [
    name,
    quoted ?? bare,
  ])
  const { dbname, ...config } = Object.fromEntries(pairs)
  return { ...config, database: dbname }
}

/** A connection of the caller's own. */
export async function pgClient(t) {
  const connection = new pg.Client(pgConfig())
  await connection.connect()
  t.after(() => connection.end())
  return connection
}

/** Runs a program of the folder `programs` to its end. */
export async function program(name, ...args) {
  const file = fileURLToPath(new URL(`programs/${name}`, import.meta.url))
  const child = spawn(process.execPath, [file, ...args], { timeout: 20_000 })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  const [code, signal] = await once(child, 'close')
  return { code, signal, output }
}
