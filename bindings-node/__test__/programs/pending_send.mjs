import { Producer } from 'libpgque'

const [queue] = process.argv.slice(2)
new Producer(process.env.PGQUE_TEST_DSN).send(queue, 1).then(() => console.log('last words'))
