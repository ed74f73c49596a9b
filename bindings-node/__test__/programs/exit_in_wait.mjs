import { connect, Consumer, Ticker } from 'libpgque'

const [queue] = process.argv.slice(2)
const dsn = process.env.PGQUE_TEST_DSN
const client = await connect(dsn)
void new Consumer(dsn, { queue, name: 'reader' }).run()
void new Ticker(dsn).run()
void client.execute('select pg_sleep(5)')
void client.notification()
setTimeout(() => {
  console.log('last words')
  process.exit(0)
}, 300)
