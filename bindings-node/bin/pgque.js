#!/usr/bin/env node
// The command `pgque`, which the compiled part carries.
const { runCommand } = require('../index.js')

// The runtime's own way to end on a signal is to raise it again, which the command would take for a second one.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => {})
process.exitCode = runCommand(['pgque', ...process.argv.slice(2)])
