#!/bin/sh
# Half a minute of bench/soak: 32 clients, some of which drop their streams or send rubbish. The long form is run by hand.
. "$(dirname "$0")/common"

soak=$(dirname "$Q")/bench/soak
[ -x "$soak" ] || { echo "skipped: $soak is not built"; exit 77; }
what="soak"
"$soak" "${SOAK_SECONDS:-30}" >"$T/out" 2>"$T/err"; rc=$?
sed 's/^/figure: /' "$T/out"
want_rc 0
what="soak, an answer counted wrong"
SOAK_PLANTED=1 "$soak" 1 8 >"$T/out" 2>"$T/err"; rc=$?
want_rc 1
finish
