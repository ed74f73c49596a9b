import { Consumer } from 'libpgque'

const [queue] = process.argv.slice(2)
void new Consumer(process.env.PGQUE_TEST_DSN, { queue, name: 'reader' }).run()
setTimeout(() => {
  console.log('last words')
  throw new Error('on purpose')
}, 300)
