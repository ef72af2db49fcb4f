#!/bin/sh
# Is ThreadSanitizer awake? A planted race must be reported and end the program; the same with a lock must not.
set -u
planted=${BUILD:-build}/tests/tsan/planted
out=$("$planted" 2>&1)
rc=$?
case $out in
  *"WARNING: ThreadSanitizer: data race"*add*) ;;
  *) echo "the planted race was not reported (exit code $rc): $out"; exit 1 ;;
esac
[ "$rc" = 66 ] || { echo "the planted race did not fail its program: exit code $rc"; exit 1; }
out=$("$planted" locked 2>&1) || { echo "reported with a lock: $out"; exit 1; }
[ "$out" = 2000 ] || { echo "counted $out"; exit 1; }
