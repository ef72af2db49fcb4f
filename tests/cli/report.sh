#!/bin/sh
# quern report: a model as an agent. The embedded model is asked a little: it clears nothing, every failure has a name, and a run goes on,
# is judged again and makes pages.
. "$(dirname "$0")/common"

ledger=$T/ledger.db
run report embedded --limit 3 --path json --tiers easy --ctx 2048 -n 48 --ledger "$ledger" --json --html "$T/r.html" --markdown "$T/r.md"
want_rc 0; want_out '"kind": "agent"'; want_out '"status": "(FAIL|NOT TESTED)"'; want_out '"verdict": "NOT READY"'
want "no page" grep -q 'as an agent' "$T/r.html"
want "no Markdown" grep -q 'What would change it' "$T/r.md"
planted want_out '"verdict": "READY"'
# held to their form, JSON calls are calls: none is malformed or written in another way
run report embedded --limit 3 --path json --tiers easy --constrain-json --ctx 2048 -n 96 --ledger "$T/held.db" --json
want_rc 0; want "not held to their form" sh -c "! grep -qE 'malformed call|foreign dialect|\"prose\"' '$T/out'"
planted want_out '"malformed call"'
run report --rescore 1 --ledger "$ledger" --json; want_rc 0; want_out '"rescored": 0'
run report --rescore 7 --ledger "$ledger"; want_rc 1; want_sentence; want_err 'has no run 7'
run report embedded --limit 2 --path native --tiers easy --families fix_bug,triage --ctx 2048 -n 32 --ledger "$ledger"
want_rc 0; want_out 'NOT READY'; want_out 'easy'
run report embedded --families nothing --ledger "$ledger"; want_rc 1; want_sentence; want_err "'nothing' is none of fix_bug"
run report --tiers soft; want_rc 2; want_sentence; want_err "'soft' is none of easy"
run report embedded --endpoint http://127.0.0.1:1/v1 --model x; want_rc 2; want_sentence
finish
