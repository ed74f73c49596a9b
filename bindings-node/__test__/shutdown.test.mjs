// How processes and threads end.
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { client, program, queue } from './helpers.mjs'

for (const [name, what] of [
  ['open_client.mjs', 'what is open and idle does not keep the process'],
  ['pending_send.mjs', 'a pending send does'],
  ['exit_in_wait.mjs', 'process.exit ends it in the middle of waits'],
  ['idle_consumer.mjs', 'SIGTERM stops a run, which keeps the process until then'],
  ['uncaught.mjs', 'an uncaught error ends it'],
  ['worker.mjs', 'a worker thread works, ends while it waits, and leaves the main thread alone'],
]) {
  test(what, async (t) => {
    const q = await queue(await client(t))
    const started = performance.now()
    const { code, signal, output } = await program(name, q)
    assert.equal(signal, null, output)
    assert.equal(code, name === 'uncaught.mjs' ? 1 : 0, output)
    assert.match(output, /^last words$/m)
    assert.ok(performance.now() - started < 10_000, output)
  })
}
