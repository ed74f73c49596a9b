// The package: both module systems, the surface, the command.
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

import * as esm from 'libpgque'

const require = createRequire(import.meta.url)
const camel = (name) => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase())

test('import and require give the same objects', () => {
  const cjs = require('libpgque')
  const names = Object.keys(cjs).sort()
  const marks = ['__esModule', 'default', 'module.exports']
  assert.deepEqual(
    Object.keys(esm)
      .filter((name) => !marks.includes(name))
      .sort(),
    names,
  )
  for (const name of names) assert.equal(esm[name], cjs[name], name)
})

test('every operation of the list is there', () => {
  const list = readFileSync(new URL('../../tests/conformance/api.toml', import.meta.url), 'utf8')
  const homes = {
    client: esm.Client.prototype,
    consumer: esm.Consumer.prototype,
    ticker: esm.Ticker.prototype,
    producer: esm.Producer.prototype,
  }
  const groups = [...list.matchAll(/on = "(\w+)"\n.*\nnames = \[([^\]]*)\]/g)]
  assert.ok(groups.length >= 9)
  for (const [, on, names] of groups) {
    for (const [, name] of names.matchAll(/"(\w+)"/g)) {
      const found = name === 'connect' ? esm.connect : homes[on][camel(name)]
      assert.equal(typeof found, 'function', `${on}.${camel(name)}`)
    }
  }
})

test('every kind of error of the list has a class', () => {
  const list = readFileSync(new URL('../../tests/conformance/api.toml', import.meta.url), 'utf8')
  const [, names] = list.match(/\[\[error\]\]\nnames = \[([^\]]*)\]/)
  for (const [, name] of names.matchAll(/"(\w+)"/g)) {
    const className = camel(`_${name}`)
    assert.equal(typeof esm[`Pgque${className}Error`], 'function', name)
  }
})

test('the version is the one of the package', () => {
  assert.equal(esm.VERSION, require('libpgque/package.json').version)
})

test('the command runs', () => {
  const command = fileURLToPath(new URL('../bin/pgque.js', import.meta.url))
  assert.match(execFileSync(process.execPath, [command, '--help'], { encoding: 'utf8' }), /Usage: pgque/)
})

test('a signal ends the command in good order', async () => {
  const command = fileURLToPath(new URL('../bin/pgque.js', import.meta.url))
  for (const signal of ['SIGINT', 'SIGTERM']) {
    const child = spawn(process.execPath, [command, 'ticker', '--dsn', process.env.PGQUE_TEST_DSN])
    // Its first line says that it is there.
    await once(child.stderr, 'data')
    child.kill(signal)
    assert.deepEqual(await once(child, 'close'), [0, null])
  }
})
