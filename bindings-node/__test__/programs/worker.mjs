import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'

import { connect, Consumer, Producer, setLogger } from 'libpgque'

const dsn = process.env.PGQUE_TEST_DSN
const name = `worker_${process.pid}`
const named = dsn.includes('://')
  ? `${dsn}${dsn.includes('?') ? '&' : '?'}application_name=${name}`
  : `${dsn} application_name=${name}`

async function inWorker() {
  setLogger(() => {}, 'info')
  const client = await connect(dsn)
  await client.send(workerData.queue, 1)
  await new Producer(named).send(workerData.queue, 1)
  void new Consumer(named, { queue: workerData.queue, name: 'reader' }).run()
  await sleep(300)
  parentPort.postMessage('waiting')
}

async function inMain() {
  const [queue] = process.argv.slice(2)
  const client = await connect(dsn)
  for (let round = 0; round < 3; round++) {
    const worker = new Worker(new URL(import.meta.url), { workerData: { queue } })
    await once(worker, 'message')
    await worker.terminate()
    await client.send(queue, round)
  }
  await stopped(client)
  // A line after the worker's logger has gone.
  const reader = new Consumer(dsn, { queue, name: 'reader' })
  const run = reader.run()
  await sleep(200)
  reader.stop()
  await run
  console.log('last words')
}

/** The workers' consumers and producers have let go of their connections. */
async function stopped(client) {
  for (let look = 0; look < 50; look++) {
    const { rows } = await client.execute(
      'select count(*) from pg_stat_activity where application_name = $1',
      [name],
    )
    if (rows[0][0] === 0n) return
    await sleep(100)
  }
  throw new Error('a consumer or producer outlived its thread')
}

await (isMainThread ? inMain() : inWorker())
