import { exec } from 'node:child_process'
import t from 'tap'

/** tap's own options would measure the coverage of the compiler. */
const withoutOptions = process.platform === 'win32' ? 'set NODE_OPTIONS=&&' : 'unset NODE_OPTIONS;'

// It takes long, and is the first test by its name: the others run beside it.
t.test('tsc finds no error in lib, in the tests and in the examples', async t => {
  const output = await new Promise<string>(resolve => {
    exec(`${withoutOptions} npm run --silent typecheck`, (error, out, errors) => {
      resolve(error === null ? '' : `${out}${errors}` || error.message)
    })
  })
  t.equal(output, '')
})
