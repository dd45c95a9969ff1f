import { readdirSync } from 'node:fs'

const lib = readdirSync('lib', { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.ts')).map(name => `lib/${name}`)

/** Every test covers the library, and nothing but the library: examples and servers for tests are not measured. */
export default () => lib
