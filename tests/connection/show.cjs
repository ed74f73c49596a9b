// Shows all that Node can of a client and of an error: inspect with everything hidden, JSON, stack, log. See secrets.py.
const { inspect } = require('node:util')
const pgque = require('../../bindings-node')

const show = (thing) =>
  console.log(String(thing), inspect(thing, { depth: 20, showHidden: true, getters: true }), thing?.stack ?? '')

pgque.setLogger((level, logger, line) => console.error(`${level} ${logger}: ${line}`), 'trace')

async function main() {
  const dsn = process.env.PGQUE_DSN
  let client
  try {
    client = await pgque.connect(dsn)
    show(client)
    console.log(JSON.stringify((await client.execute("select 'login of ' || current_user")).rows))
    await client.execute('select nonsense')
  } catch (error) {
    show(error)
    console.log(JSON.stringify(error))
  }
  for (const make of [
    () => new pgque.Consumer(dsn, { queue: 'q', name: 'c' }),
    () => new pgque.Ticker(dsn),
    () => new pgque.Producer(dsn),
  ]) {
    try {
      show(make())
    } catch (error) {
      show(error)
    }
  }
  await client?.close()
  process.exit(0)
}

main()
