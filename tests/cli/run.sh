#!/bin/sh
# quern run with one prompt: where it comes from, what comes out, how it ends.
. "$(dirname "$0")/common"
quietly() { run run -q "$@"; no_err; }

run run -p 'Hello!' -n 16; want_rc 0; want_err 'demonstration and test model'
want_err '^\[prompt [0-9]+ tokens.*; answer [0-9]+ tokens.*; .*\]$'; want_out .
planted want_out '^no such answer$'
want "stdout does not end with a newline" [ -z "$(tail -c 1 "$T/out" | tr -d '\n')" ]
cp "$T/out" "$T/hello"
quietly -p 'Hello!' -n 16; want_same "$T/out" "$T/hello"
printf 'Hello!\n' >"$T/f"
quietly -f "$T/f" -n 16; want_same "$T/out" "$T/hello"
in=$T/f; quietly -n 16; want_same "$T/out" "$T/hello"
quietly -f - -n 16; want_same "$T/out" "$T/hello"
# -p and a pipe: one under the other
printf 'Say this again:\nHello!\n' >"$T/both"; quietly -p 'Say this again:' -n 16; cp "$T/out" "$T/joined"
in=$T/both; quietly -n 16; want_same "$T/out" "$T/joined"; in=/dev/null
for a in "" "-p"; do
  run run -q $a ${a:+""}; want_rc 1; want_sentence; want_err 'the prompt is empty'
done
printf 'a\377b' >"$T/bytes"; quietly -p x -n 1
run run -q -f "$T/bytes"; want_rc 1; want_sentence; want_err 'not UTF-8 at byte 1'
quietly --raw -f "$T/bytes" -n 4; want_rc 0
printf '\0' >"$T/nul"; run run -q --raw -f "$T/nul" -n 1; want_rc 0

# raw: the text's bytes, no newline added
quietly --raw -p 'def add(a, b):' -n 8; want_rc 0
quietly --raw -p 'def add(a, b):' -n 8 --threads 1 --chunk 1; cp "$T/out" "$T/raw"
quietly --raw -p 'def add(a, b):' -n 8; want_same "$T/out" "$T/raw"

# how long, and why it ended
run run -p Hello -n 0; want_rc 0; no_out; want_err 'answer 0 tokens; the limit of tokens \(-n\) is reached'
run run -p Hello -n 3; want_rc 0; want_err 'answer 3 tokens.*; the limit of tokens \(-n\)'
run run -p Hello --logit-bias 2042=+1000; want_rc 0; want_err 'the model ended its answer'
run run -q -p Hello --regex '(ab|cd){3}!'; want_rc 0; want_out '[a-d]!'
printf '{"type":"object","properties":{"n":{"enum":[17]}},"required":["n"],"additionalProperties":false}' >"$T/s.json"
run run -q -p Hello --schema "$T/s.json"; want_rc 0; want_out '"n": *17'
printf '{"not":{"uniqueItems":true}}' >"$T/s.json"
run run -q -p Hello --schema "$T/s.json"; want_rc 1; want_err '#/not'
run run -q -p Hello --schema "$T/s.json" --regex x; want_rc 2
run run -p Hello --ctx 40 --logit-bias 2042=-1e9 --logit-bias 2040=-1e9; want_rc 0; want_err 'the context is full'
i=0; while [ $i -lt 500 ]; do printf 'word%d and more ' $i; i=$((i + 1)); done >"$T/long"
run run -f "$T/long" -q; want_rc 1; want_sentence; want_err '[0-9]{4} tokens.* 2048'; no_out
run run -p 'Hello there' --ctx 4 -q; want_rc 1; want_sentence; want_err ' 4[^0-9]'

# a seed is reproducible, another one differs
hot() { quietly --raw -p 'def ' -n 24 --temp 2 "$@"; }
hot --seed 7; cp "$T/out" "$T/seven"
hot --seed 7 --threads 1; want_same "$T/out" "$T/seven"
hot --seed 8; planted want_same "$T/out" "$T/seven"
quietly --raw -p 'def ' -n 24 --temp 1 --top-k 5 --top-p 0.9 --min-p 0.01 --typical 0.9 --repeat-penalty 1.1 \
  --frequency-penalty 0.1 --presence-penalty 0.1 --dry-multiplier 0.5; want_rc 0

if command -v jq >/dev/null; then
  quietly -p 'Hello!' -n 5 --json; want_rc 0; cp "$T/out" "$T/json"
  want "not the JSON expected" jq -e '(.text | type) == "string" and .reason == "length" and .timings.generated_tokens == 5 and .seed == 0' "$T/json" >/dev/null
  quietly --raw -p x -n 40 --temp 5 --json; cp "$T/out" "$T/json"
  want "random text is not valid JSON" jq -e '.text | length > 0' "$T/json" >/dev/null
else
  echo "jq is missing: the JSON was not read"
fi

# calls of tools: each a line of JSON that conforms, however little the model knows
printf '[{"type":"function","function":{"name":"add","parameters":{"type":"object","properties":{"a":{"enum":[17]},"b":{"type":"boolean"}},"required":["a","b"]}}},{"type":"function","function":{"name":"ls","parameters":{"type":"object","properties":{"dir":{"type":"string"}},"required":["dir"]}}}]' >"$T/tools.json"
call='^\{"name":"add","arguments":\{("a": 17, "b": (true|false)|"b": (true|false), "a": 17)\}\}$'
quietly -p 'Add.' --tools "$T/tools.json" --tool-choice add --temp 3 --seed 5 -n 60; want_out "$call"
planted want_out '"a": 18'
want "every line is a call" [ "$(grep -Evc "$call" "$T/out")" = 0 ]
quietly -p 'Add.' --tools "$T/tools.json" --tool-choice required --temp 1 -n 200 --json; want_out '"calls":\[\{"name":"(add|ls)"'
run run -p 'Add.' --tools "$T/tools.json" --tool-choice add -n 12; no_out; want_err 'a call of add is not complete'
quietly -p 'Add.' --tools "$T/tools.json" --tool-choice add -n 12 --json; want_out '"calls":\[\],"cut":\{"name":"add","arguments":'
quietly -p 'Hello!' --tools "$T/tools.json" --tool-choice none -n 16; want_rc 0
run run -q -p x --tools "$T/tools.json" --tool-choice sub; want_rc 1; want_sentence; want_err 'sub.*not among the tools'
run run -q -p x --tool-choice none; want_rc 2; want_err 'needs --tools'
run run -q -p x --tools "$T/tools.json" --regex a; want_rc 2
printf '{"type":"object","properties":{"n":{"enum":[17]}},"required":["n"],"additionalProperties":false}' >"$T/s.json"
quietly -p 'Add.' --tools "$T/tools.json" --schema "$T/s.json" --temp 1 --seed 3 -n 200; want_out '^(\{"name":"(add|ls)","arguments":.*|\{ *"n": *17 *\})$'
printf '[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"a":{"$dynamicRef":"#x"}}}}}]' >"$T/bad.json"
run run -q -p x --tools "$T/bad.json"; want_rc 1; want_sentence; want_err 'tools.0..function.parameters'

# At a terminal a model cannot send escape sequences: noise has control characters in a file, none on a terminal.
noise="run -q --raw -p x --temp 50 --seed 1 -n 2000 --logit-bias 2042=-1e9 --logit-bias 2040=-1e9"
bare() { LC_ALL=C tr -d '\n\r\t -~\200-\377' <"$1" | wc -c; }
if script -qec true /dev/null >/dev/null 2>&1 </dev/null; then
  what="noise at a terminal"
  run $noise
  planted want "" [ "$(bare "$T/out")" = 0 ]
  script -qec "$Q $noise </dev/null" /dev/null >"$T/screen" 2>&1 </dev/null
  want "control characters on the terminal" [ "$(bare "$T/screen")" = 0 ]
  want "bytes on the terminal that are not UTF-8" iconv -f UTF-8 -t UTF-8 "$T/screen" >/dev/null
else
  echo "script is missing: output at a terminal was not looked at"
fi

# the reader goes away, the disk is full, the descriptors are closed
forever="--raw -p def -q --logit-bias 2042=-1e9 --logit-bias 2040=-1e9 -n -1 --ctx 1500"
what="a closed pipe"
{ timeout 60 "$Q" run $forever 2>"$T/err" </dev/null; echo $? >"$T/rc"; } | head -c 3 >/dev/null
rc=$(cat "$T/rc"); want_rc 1; no_err
if [ -c /dev/full ]; then
  what="a full disk"; timeout 60 "$Q" run $forever >/dev/full 2>"$T/err" </dev/null; rc=$?
  want_rc 1; want_sentence; want_err 'No space left'
fi
what="closed descriptors"
"$Q" run -q -p Hello -n 2 <&- >"$T/out" 2>"$T/err"; rc=$?; want_rc 0; want_out .
"$Q" run -q -p Hello -n 2 </dev/null >&- 2>"$T/err"; rc=$?; want_rc 1
"$Q" run -p Hello -n 2 </dev/null >"$T/out" 2>&-; rc=$?; want_rc 0; want_out .

finish
