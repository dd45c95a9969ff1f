import t from 'tap'
import { assertPath, resolveRoute } from '../../../lib/internal/plugin/route.ts'

t.test('the option route has its standard path unless it names another', async t => {
  t.strictSame(resolveRoute(undefined, '/logout', 'aPlugin'), { path: '/logout' })
  t.strictSame(resolveRoute({}, '/logout', 'aPlugin'), { path: '/logout' })
  t.strictSame(resolveRoute({ path: undefined, parallel: 2 }, '/logout', 'aPlugin'), { path: '/logout', parallel: 2 })
  t.strictSame(resolveRoute({ path: '/bye', security: [] }, '/logout', 'aPlugin'), { path: '/bye', security: [] })
})

t.test('the given object is not changed', async t => {
  const given = Object.freeze({ security: [] })
  t.strictSame(resolveRoute<{ path?: string, security: [] }>(given as never, '/logout', 'aPlugin'), { path: '/logout', security: [] })
})

t.test('a route that is not an object, and a path that is not a path, are TypeErrors that name the option', async t => {
  for (const route of [null, '/logout', 5, ['/logout']]) {
    t.throws(() => resolveRoute(route as never, '/logout', 'aPlugin'), {
      name: 'TypeError', message: 'aPlugin: option "route" must be an object, for example { path: \'/logout\' }'
    })
  }
  for (const path of ['', 'logout', null, 5]) {
    const error = { name: 'TypeError', message: 'aPlugin: option "route.path" must begin with a slash' }
    t.throws(() => resolveRoute({ path: path as string }, '/logout', 'aPlugin'), error)
    t.throws(() => assertPath(path, 'aPlugin', 'route.path'), error)
  }
})
