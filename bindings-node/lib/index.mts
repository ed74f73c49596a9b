// The same objects for `import`, so that `instanceof` holds in a program that uses both.
export * from './index.js'
