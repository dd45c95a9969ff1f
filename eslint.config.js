import neostandard, { resolveIgnoresFromGitignore } from 'neostandard'

export default [
  ...neostandard({ ts: true, ignores: resolveIgnoresFromGitignore() }),
  {
    files: ['{lib,test}/**/*.{ts,js}'],
    rules: { '@stylistic/max-len': ['error', { code: 140, ignoreUrls: true }] }
  }
]
