import neostandard, { resolveIgnoresFromGitignore } from 'neostandard'

// Tests are exempt from the limits of functions: a test is a list of cases, and reads best as one.
export default [
  ...neostandard({ ts: true, ignores: resolveIgnoresFromGitignore() }),
  {
    files: ['{lib,test}/**/*.{ts,js}'],
    rules: { '@stylistic/max-len': ['error', { code: 140, ignoreUrls: true }] }
  },
  {
    files: ['lib/**/*.ts'],
    rules: {
      'max-lines-per-function': ['error', { max: 40, IIFEs: true }],
      'max-depth': ['error', 2],
      'max-params': ['error', 3]
    }
  },
  {
    // One SQL text is one function here: split, the database's procedures could not be read as a whole.
    files: ['lib/internal/databases/*-sql.ts'],
    rules: { 'max-lines-per-function': 'off' }
  },
  {
    // Checks of options: the value, and in every message the same caller, option and hint.
    files: ['lib/internal/plugin/options.ts'],
    rules: { 'max-params': ['error', 4] }
  },
  {
    // Fastify's hooks and parsers that call `done`, and the `incr` of @fastify/rate-limit, have four parameters.
    files: ['lib/guards/tenant-activity.ts', 'lib/internal/plugin/{diagnostics,rate-limit}.ts', 'lib/internal/session-logout/{body,route}.ts'],
    rules: { 'max-params': ['error', 4] }
  }
]
