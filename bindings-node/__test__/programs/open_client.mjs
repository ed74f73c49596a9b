import { connect, Consumer, Producer, Ticker } from 'libpgque'

const [queue] = process.argv.slice(2)
const client = await connect(process.env.PGQUE_TEST_DSN)
await client.listen('anything')
new Consumer(process.env.PGQUE_TEST_DSN, { queue, name: 'reader' }).on('*', () => {})
new Ticker(process.env.PGQUE_TEST_DSN)
await new Producer(process.env.PGQUE_TEST_DSN).send(queue, 1)
console.log('last words')
