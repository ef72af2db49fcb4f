#!/bin/sh
# quern eval --list, --fetch: suites by name. Nothing is asked of the network here: what is got, and how, tests/api/test_fetch.c shows.
. "$(dirname "$0")/common"

XDG_DATA_HOME=$T/data && export XDG_DATA_HOME
run eval --list; want_rc 0; no_err; want_out '^humaneval +HumanEval +164 problems +MIT +https://'; want_out '^mbpp-plus .*Apache-2.0'
planted want_out '^humaneval .*/data/quern'
run eval --list --json; want_rc 0; want_out '"licence": "CC-BY-SA-4.0"'; want_out '"there": false'; planted want_out '"there": true'
# by name, when it is not there: said how to get it, and not got
run eval humaneval embedded; want_rc 1; want_sentence; want_err 'humaneval: is not here yet; .quern eval --fetch humaneval. gets it from https://raw.githubusercontent.com \(MIT\)'
run eval humanevil embedded; want_rc 1; want_sentence; want_err "quern eval --list. shows those"
run eval ./humaneval embedded; want_rc 1; want_sentence; want_err 'humaneval: '
run eval; want_rc 2; want_sentence; want_err 'SUITE is missing'
run eval --fetch; want_rc 2; want_sentence; want_err 'or all'
run eval --fetch nothing; want_rc 1; want_sentence; want_err "nothing: is no suite"
run eval --list humaneval; want_rc 2; want_sentence
run eval humaneval --to "$T/there"; want_rc 2; want_sentence; want_err '--to belongs to --fetch'
# no network: one sentence a suite, nothing on disk
QUERN_SUITES_FROM=http://127.0.0.1:1 && export QUERN_SUITES_FROM
run eval --fetch humaneval --to "$T/there"; want_rc 1; want_sentence; want_err 'http://127.0.0.1:1/openai/.*cannot be reached'; no_out
run eval --fetch all --to "$T/there"; want_rc 1; want "not each was tried" [ "$(grep -c 'cannot be reached' "$T/err")" -ge 15 ]
want "something was left" [ -z "$(ls -A "$T/there")" ]
# a disk that is full, and a place that is none
run eval --fetch humaneval --to /dev/full; want_rc 1; want_sentence; want_err '^quern: /dev/full'
# what is there is found by its name, and is not got again
if [ -f "$SHARED/data/humaneval/HumanEval.jsonl.gz" ]; then
  mkdir -p "$T/data/quern/suites" && cp "$SHARED/data/humaneval/HumanEval.jsonl.gz" "$T/data/quern/suites" && chmod u+w "$T/data/quern/suites/HumanEval.jsonl.gz"
  run eval --fetch humaneval; want_rc 0; no_err; want_out "^$T/data/quern/suites/HumanEval.jsonl.gz$"
  run eval --list; want_out '^humaneval .*data/quern/suites/HumanEval.jsonl.gz$'
  if bwrap --ro-bind / / --unshare-all true 2>/dev/null; then
    run eval humaneval embedded --limit 1 -n 8 --ctx 1024 --ledger "$T/l.db"; want_rc 0; want_out '^HumanEval, '
  else
    echo "skipped: no bubblewrap: humaneval was not asked by its name"
  fi
else
  echo "skipped: $SHARED/data/humaneval is not there"
fi
finish
