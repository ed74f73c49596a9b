/** The compiled part, whose declarations are generated. */
import native = require('../index.js')

export = native
