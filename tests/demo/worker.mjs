// A worker of the demo: see README.md beside this file.

import { setTimeout as sleep } from 'node:timers/promises';

import { Consumer, setLogger } from '../../bindings-node/dist/index.mjs';

// The failures are part of the show, their log lines are not.
setLogger(null);

const [dsn, name, member] = process.argv.slice(2);
const consumer = new Consumer(dsn, {
  queue: 'orders',
  name,
  retryAfter: 1,
  subconsumer: member,
  deadInterval: '2 seconds',
});

consumer.on('order.placed', async (message) => {
  const { order } = message.json();
  await sleep(2);
  const declined = order % 250 === 0 && message.retryCount === null;
  const failed = declined || order % 1000 === 1;
  console.log(order, message.retryCount ?? 0, failed ? 'failed' : 'ok');
  if (failed) throw new Error(declined ? 'card declined' : 'no such address');
});

process.once('SIGTERM', () => consumer.stop());
await consumer.run();
