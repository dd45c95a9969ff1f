#!/usr/bin/env bash
# What most hosts get: node:sqlite, on the newest even version of Node, which npm brings. Runs the SQLite stores, their
# faults and the example server there, in this checkout. `npm run test:node-sqlite -- 24` chooses another version.
set -euo pipefail
cd "$(dirname "$0")/.."

node=$(npm exec --yes --package "node@${1:-26}" -- node --print process.execPath)
export PATH="$(dirname "$node"):$PATH"
echo "# Node $(node --version), SQLite $(node --print 'process.versions.sqlite')"
node --eval 'new (process.getBuiltinModule("node:sqlite").DatabaseSync)(":memory:").close()'

npm exec -- tap --disable-coverage --allow-incomplete-coverage test/{session,user-status,revocation}-stores/sqlite.test.ts \
  test/{provider-session-indexes,delivery-queues}/sqlite.test.ts test/internal/databases/sqlite.test.ts \
  test/faults/*sqlite.test.ts test/end-to-end/examples.test.ts
