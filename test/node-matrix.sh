#!/usr/bin/env bash
# Installs and tests a copy of this checkout on other versions of Node, one after the other: `bash test/node-matrix.sh 22 24 26`.
# npm brings each Node. The copy has node_modules of its own, because native parts are built for one version of Node. Where
# they cannot be (no prebuilt binary, no headers of that version), tests of better-sqlite3 are skipped, and node:sqlite serves.
set -euo pipefail
cd "$(dirname "$0")/.."
(($#)) || { echo "usage: $0 <version of Node>..." >&2; exit 2; }

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
failed=()

for version in "$@"; do
  start=$SECONDS
  node=$(npm exec --yes --package "node@$version" -- node --print process.execPath)
  place="$copy/$version"
  mkdir -p "$place"
  git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
    [[ ! -f $file ]] || printf '%s\0' "$file"
  done | tar --create --null --files-from=- | tar --extract --directory "$place"

  if (
    cd "$place"
    export PATH="$(dirname "$node"):$PATH"
    echo "# Node $(node --version)"
    npm ci --no-audit --no-fund && npm run build && npm exec -- tap --disable-coverage --timeout=900
  ); then verdict=passed; else verdict=failed failed+=("$version"); fi
  echo "# Node $version: $verdict after $((SECONDS - start)) s"
done

((${#failed[@]} == 0))
