#!/bin/sh
# quern audit on the embedded model: a table, the same figures again from the ledger, wrong use.
. "$(dirname "$0")/common"

L=$T/ledger.db
run audit --ledger "$L" --kinds plain --fillers prose,c --max-length 1024 --samples 1 --html "$T/a.html" --markdown "$T/a.md"; want_rc 0; no_err
want_out '^embedded, chat: '
want_out '^  plain +[0-9]+/10 +at 256'
want_out '^Read [0-9]+ tokens; [0-9]+ questions with a text each would have been [0-9]+: [0-9.]+ % were reused'
want_out 'run 1 in '
planted want_out '^  needle '
want "no drawing in the page" grep -q '<svg' "$T/a.html"
want "no cliff in the Markdown" grep -qi 'cliff' "$T/a.md"
grep -v '^Every question' "$T/out" >"$T/first"
run audit --ledger "$L" --rescore 1; want_rc 0; no_err
grep -v '^Every question' "$T/out" >"$T/again"
want_same "$T/first" "$T/again"
run audit --ledger "$L" --rescore 1 --json; want_rc 0; want_out '"kind": "audit"'
run audit --ledger "$L" --rescore 7; want_rc 1; want_sentence; want_err 'has no run 7'
run audit --ledger "$L" --kinds needle,tool-result --fillers c --max-length 1024 --samples 1; want_rc 0; no_err # some of its texts would fit
want_out '^  tool-result +not asked'
run audit --ledger "$L" --kinds needle,tool-result --fillers c,prose,log --max-length 1024 --samples 1 -n 24; want_rc 0; no_err # its shortest exceeds the context
want_out '^  tool-result +not asked'
run audit --ledger "$L" --kinds plane; want_rc 1; want_sentence; want_err 'there is no plane'
run audit --ledger "$L" --max-length 4096 --ctx 1024; want_rc 1; want_sentence; want_err '4096.*1024'
run audit --ledger "$L" --max-length 64 --min-length 128; want_rc 1; want_sentence; want_err 'shorter than the shortest'
run audit a b; want_rc 2; want_sentence
run audit --endpoint http://127.0.0.1:1/v1; want_rc 2; want_err 'needs --model'
run audit --ledger "$L" --endpoint http://127.0.0.1:1/v1 --model m; want_rc 1; want_sentence
finish
