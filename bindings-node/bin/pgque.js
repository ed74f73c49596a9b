#!/usr/bin/env node
// The command `pgque`, which the compiled part carries.
const { runCommand } = require('../index.js')

process.exitCode = runCommand(['pgque', ...process.argv.slice(2)])
