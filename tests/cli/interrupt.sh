#!/bin/sh
# Ctrl-C while a long prompt is read (there the progress bar is seen too), while the answer comes and while a text is
# measured: stopped cleanly, with what was done until then, exit code 130.
. "$(dirname "$0")/common"
command -v expect >/dev/null || { echo "skipped: expect is not installed"; exit 77; }
# Far more than a fast machine does before the bar shows: nothing is read to its end.
i=0; while [ $i -lt 1200 ]; do printf 'word%d and more ' $i; i=$((i + 1)); done >"$T/long"
for i in 1 2 3 4 5 6 7 8; do cat "$T/long"; done >"$T/longer"
TERM=xterm
export Q T TERM
what="Ctrl-C"
: >"$T/err"
timeout 120 expect -f "$(dirname "$0")/interrupt.exp" >"$T/log" 2>&1 || { wrong "$(tail -n 3 "$T/log")"; cat -v "$T/log"; }
if PLANTED=1 timeout 60 expect -f "$(dirname "$0")/interrupt.exp" >/dev/null 2>&1; then wrong "the planted fault was not found"; fi
finish
