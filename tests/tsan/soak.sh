#!/bin/sh
# A server and few clients for a while: a race in it ends it, and then the clients fail.
out=$("${BUILD:-build}/bench/soak" "${SOAK_SECONDS:-20}" 8 2>&1)
rc=$?
echo "$out" | sed 's/^soak:/figure: soak:/'
exit $rc
