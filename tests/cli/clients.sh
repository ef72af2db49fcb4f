#!/bin/sh
# The clients' own packages (tests/clients/*.mjs) against a server of the embedded model.
. "$(dirname "$0")/common"

here=$(cd "$(dirname "$0")/../clients" && pwd)
for c in node npm; do command -v $c >/dev/null 2>&1 || { echo "skipped: $c is not installed"; exit 77; }; done
modules=$(dirname "$Q")/clients
mkdir -p "$modules"
rm -f "$modules"/*.mjs
cp "$here"/package.json "$here"/package-lock.json "$here"/.npmrc "$here"/*.mjs "$modules"
if ! cmp -s "$modules/package-lock.json" "$modules/node_modules/.installed"; then
  (cd "$modules" && timeout 300 npm ci --ignore-scripts >"$T/npm" 2>&1) || { echo "skipped: the packages of tests/clients cannot be had"; exit 77; }
  cp "$modules/package-lock.json" "$modules/node_modules/.installed"
fi
: >"$T/serve.err"
"$Q" serve --port 0 --quiet >"$T/serve.out" 2>"$T/serve.err" </dev/null &
pid=$!
trap 'kill "$pid" 2>/dev/null; rm -rf "$T"' EXIT
for i in $(seq 200); do
  QUERN_URL=$(sed -n 's/^quern serves on //p' "$T/serve.err")
  [ -z "$QUERN_URL" ] || break
  sleep 0.1
done
export QUERN_URL
for f in "$modules"/*.mjs; do
  [ "${f##*/}" != check.mjs ] || continue
  what=${f##*/}
  (cd "$modules" && timeout 300 node "$f" 2>&1) || wrong "failed"
done
what="quern serve, stopped"; kill "$pid"; wait "$pid"; rc=$?; : >"$T/err"; want_rc 0
finish
