import t from 'tap'

import {
  assertFunction, assertFunctions, assertGroup, assertGrouped, assertOption, duration, lifetimeOf, nonEmptyStrings, wholeNumber
} from '../../../lib/internal/plugin/options.ts'

t.test('lifetimeOf accepts positive numbers up to a hundred years, longer than a timer can wait', async t => {
  t.equal(lifetimeOf(undefined, 7, 'caller', 'lifetime'), 7)
  for (const value of [1, 0.5, 30 * 86_400_000, 100 * 365.25 * 86_400_000]) t.equal(lifetimeOf(value, 7, 'caller', 'lifetime'), value)
  for (const value of [0, -1, NaN, Infinity, Number.MAX_SAFE_INTEGER, '1', null] as number[]) {
    const message = /^caller: option "lifetime" must be a positive number of milliseconds/
    t.throws(() => lifetimeOf(value, 7, 'caller', 'lifetime'), { name: 'TypeError', message })
  }
})

/** The error of a wrong option. */
const misuse = (hint: string) => ({ name: 'TypeError', message: `aPlugin: option "anOption" ${hint}` })

t.test('assertOption throws a TypeError that names the plugin, the option and the hint', async t => {
  assertOption(true, 'aPlugin', 'anOption', 'must be true')
  t.throws(() => assertOption(false, 'aPlugin', 'anOption', 'must be true'), misuse('must be true'))
})

t.test('assertFunctions accepts functions and undefined', async t => {
  assertFunctions({ anOption: () => {}, other: 5 }, 'aPlugin', ['anOption', 'missing'])
  for (const anOption of [null, 'text', {}, 0, false]) {
    t.throws(() => assertFunctions({ anOption }, 'aPlugin', ['anOption']), misuse('must be a function if it is given'))
  }
})

t.test('assertFunctions finds a member of a group by its path of names', async t => {
  const options = { user: { isActive: () => true }, wire: undefined, none: null }
  assertFunctions(options, 'aPlugin', ['user.isActive', 'user.principal', 'wire.anything', 'none.anything', 'missing.anything'])
  for (const isActive of [null, 'text', {}, 0, false]) {
    t.throws(() => assertFunctions({ user: { isActive } }, 'aPlugin', ['user.isActive']), {
      name: 'TypeError', message: 'aPlugin: option "user.isActive" must be a function if it is given'
    })
  }
})

t.test('assertFunction accepts a function and undefined', async t => {
  assertFunction(() => {}, 'aPlugin', 'anOption')
  assertFunction(undefined, 'aPlugin', 'anOption')
  t.throws(() => assertFunction(null, 'aPlugin', 'anOption'), misuse('must be a function if it is given'))
})

t.test('assertGroup accepts objects, and not null, lists and other values', async t => {
  assertGroup({}, 'aPlugin', 'anOption', '{ a }')
  for (const value of [null, undefined, [], 'text', 5, true, () => {}]) {
    t.throws(() => assertGroup(value, 'aPlugin', 'anOption', '{ a }'), misuse('must be an object, for example { a }'))
  }
})

t.test('assertGrouped refuses a member of a group beside it, whatever its value', async t => {
  const groups = { user: ['principal', 'isActive'], route: ['path'] }
  assertGrouped({ user: { isActive: () => true }, route: { path: '/logout' }, timeout: 5 }, 'aPlugin', groups)
  for (const value of [() => true, undefined]) {
    t.throws(() => assertGrouped({ isActive: value }, 'aPlugin', groups), {
      name: 'TypeError', message: 'aPlugin: option "isActive" must be a member of the option "user"'
    })
  }
  const message = 'aPlugin: option "path" must be a member of the option "route"'
  t.throws(() => assertGrouped({ path: '/bye' }, 'aPlugin', groups), { name: 'TypeError', message })
})

t.test('duration accepts positive numbers that a timer can wait', async t => {
  t.equal(duration(undefined, 7, 'aPlugin', 'anOption'), 7)
  for (const value of [1, 0.5, 2_147_483_647]) t.equal(duration(value, 7, 'aPlugin', 'anOption'), value)
  for (const value of [0, -1, NaN, Infinity, 2_147_483_648, '5', null] as number[]) {
    t.throws(() => duration(value, 7, 'aPlugin', 'anOption'), misuse('must be a positive number of milliseconds, at most 2147483647'))
  }
})

t.test('nonEmptyStrings accepts a non-empty string or a list of them', async t => {
  t.strictSame(nonEmptyStrings('a', 'aPlugin', 'anOption'), ['a'])
  t.strictSame(nonEmptyStrings(['a', ' b '], 'aPlugin', 'anOption'), ['a', ' b '])
  for (const value of [undefined, '', ' ', [], [''], ['a', undefined], ['a', 5], 5, null]) {
    const hint = 'must be a non-empty string or a list of them (is its environment variable set?)'
    t.throws(() => nonEmptyStrings(value, 'aPlugin', 'anOption'), misuse(hint), JSON.stringify(value))
  }
})

t.test('wholeNumber accepts safe integers from a least one on', async t => {
  const bounds = { standard: 7, least: 2 }
  t.equal(wholeNumber(undefined, 'aPlugin', 'anOption', bounds), 7)
  t.equal(wholeNumber(2, 'aPlugin', 'anOption', bounds), 2)
  for (const value of [1, 2.5, '2', NaN, Infinity, 2 ** 53]) {
    t.throws(() => wholeNumber(value, 'aPlugin', 'anOption', bounds), misuse('must be a whole number, at least 2'), String(value))
  }
})
