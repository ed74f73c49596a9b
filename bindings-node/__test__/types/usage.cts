// The same package by require.
import pgque = require('libpgque')

export async function main(): Promise<bigint> {
  await using client = await pgque.connect('host=localhost')
  return client.send('orders', new pgque.Text('a'))
}
