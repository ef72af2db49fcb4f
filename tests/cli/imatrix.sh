#!/bin/sh
# quern imatrix: a file that quern quantize takes; what is refused leaves nothing.
. "$(dirname "$0")/common"

data=$(dirname "$0")/../data/models
seedling=$(dirname "$0")/../../models/seedling-q8_0.gguf
text=$(dirname "$0")/../unit/test_pages.c
mkdir "$T/o"
nothing_new() { want "something was left in the folder" [ -z "$(ls "$T/o" 2>/dev/null)" ]; }

run imatrix embedded -f "$text" -o "$T/o/im" --chunk 128; want_rc 0; no_err
want_out '^measured 28 matrices over [0-9]+ tokens in [0-9]+ chunks$'
cp "$T/o/im" "$T/first"
run quantize "$seedling" "$T/m.gguf" Q4_K_M --allow-requantize --imatrix "$T/o/im"; want_rc 0; no_err
want_out 'importance found for 28 tensors'
run quantize "$seedling" "$T/n.gguf" Q4_K_M --allow-requantize; want_rc 0
planted want_same "$T/m.gguf" "$T/n.gguf"
run run "$T/m.gguf" --raw -p 'def f(x):' -n 3; want_rc 0
in=$text; run imatrix "$seedling" -f - -o "$T/o/im" --chunk 128 --threads 1 -q; want_rc 0; no_out; no_err; in=/dev/null
# the same numbers by another name of the text
want "other sizes" [ "$(wc -c <"$T/o/im")" -le "$(wc -c <"$T/first")" ]
run imatrix "$data/qwen3moe.gguf" -f "$text" -o "$T/o/im" --json; want_rc 0; no_err
if command -v jq >/dev/null; then
  cp "$T/out" "$T/j"; want "not the object expected" jq -e '.matrices > 40 and .chunks >= 1 and .tokens > 100' "$T/j" >/dev/null
fi
rm "$T/o/im"

run imatrix embedded -f "$T/none" -o "$T/o/im"; want_rc 1; want_sentence; nothing_new
: >"$T/empty"; run imatrix embedded -f "$T/empty" -o "$T/o/im"; want_rc 1; want_sentence; want_err 'empty'; nothing_new
cp "$seedling" "$T/model.gguf"; ln -s model.gguf "$T/link"; cp "$T/model.gguf" "$T/before"
run imatrix "$T/model.gguf" -f "$text" -o "$T/link"; want_rc 1; want_sentence; want_err 'is the model'; want_same "$T/model.gguf" "$T/before"
run imatrix embedded -f "$text" -o "$T/no/im"; want_rc 1; want_sentence
if timeout --version 2>/dev/null | grep -q GNU; then
  i=0; while [ $i -lt 40 ]; do cat "$text"; i=$((i + 1)); done >"$T/long"
  for after in 0.1 0.3; do
    what="quern imatrix, Ctrl-C after $after s"
    timeout --preserve-status -s INT $after "$Q" imatrix embedded -f "$T/long" -o "$T/o/im" -t 1 >"$T/out" 2>"$T/err"
    rc=$?
    if [ $rc = 0 ]; then rm "$T/o/im"; else want_rc 130; fi
    nothing_new
  done
fi

run imatrix embedded -o "$T/o/im"; want_rc 2; want_sentence; want_err '-f TEXT'
run imatrix embedded -f "$text"; want_rc 2; want_sentence; want_err '-o FILE'
run imatrix embedded -f "$text" -o "$T/o/im" --chunk 1; want_rc 2; want_sentence
finish
