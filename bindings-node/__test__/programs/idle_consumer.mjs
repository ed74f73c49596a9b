import { Consumer } from 'libpgque'

const [queue] = process.argv.slice(2)
const abort = new AbortController()
process.once('SIGTERM', () => abort.abort())
setTimeout(() => process.kill(process.pid, 'SIGTERM'), 500).unref()
const started = performance.now()
await new Consumer(process.env.PGQUE_TEST_DSN, { queue, name: 'reader' }).run({ signal: abort.signal })
if (performance.now() - started < 400) throw new Error('the run ended before it was stopped')
console.log('last words')
