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
# the same model behind a server: tools go there and calls come back, and what is asked for in JSON has the same reasons as here
"$Q" serve embedded --port 0 --ctx 2048 >"$T/serve.out" 2>"$T/serve.err" </dev/null &
pid=$!
trap 'kill "$pid" 2>/dev/null; rm -rf "$T"' EXIT
for i in $(seq 200); do
  url=$(sed -n 's/^quern serves on \(http[^ ]*\).*/\1/p' "$T/serve.err" | head -n 1)
  [ -z "$url" ] || break
  sleep 0.1
done
want "the server did not begin" [ -n "$url" ]
run report --endpoint "$url/v1" --model seedling --limit 3 --tiers easy -n 48 --ledger "$T/there.db" --json
want_rc 0; want_out '"model": "seedling"'; want_out '"samples": 3'
reasons() { sed -n '/"json": {/,/"medium"/p' "$T/out" | sed -n '/"reasons"/,/}/p'; }
reasons >"$T/there"
run report embedded --limit 3 --tiers easy -n 48 --ctx 2048 --ledger "$T/here.db" --json; want_rc 0
reasons >"$T/here"; want_same "$T/here" "$T/there"; want "no reasons" [ -s "$T/here" ]
finish
