#!/bin/sh
# quern embed: a vector for each text, of length 1; the same bytes however it is asked for; other models refuse nothing.
. "$(dirname "$0")/common"

bert=$(dirname "$0")/../data/models/bert.gguf qwen=$(dirname "$0")/../data/models/qwen2.gguf
size() { wc -c <"$1" | tr -d ' '; }
if ! "$Q" tokenize "$bert" </dev/null >/dev/null 2>&1; then echo "skipped: the tiny encoder's vocabulary does not load"; exit 77; fi

printf 'one two\nthree\n' >"$T/lines"
in=$T/lines; run embed "$bert"; want_rc 0; no_err; cp "$T/out" "$T/all"
want "not two lines" [ "$(wc -l <"$T/all")" = 2 ]
want_out '^\[-?[0-9.e-]+(,-?[0-9.e+-]+){95}\]$'
run embed "$bert" -o "$T/all.f32"; want_rc 0; no_out; want "$(size "$T/all.f32") bytes" [ "$(size "$T/all.f32")" = $((2 * 96 * 4)) ]
in=/dev/null
run embed "$bert" -p 'one two'; want_rc 0; head -n 1 "$T/all" >"$T/first"; want_same "$T/out" "$T/first"
printf 'one two\n' >"$T/text"; run embed "$bert" -f "$T/text" --threads 1 --chunk 1; want_rc 0; want_same "$T/out" "$T/first"
run embed "$bert" -p 'one two' -o "$T/one.f32"; want_rc 0; head -c 384 "$T/all.f32" >"$T/first.f32"; want_same "$T/one.f32" "$T/first.f32"
planted want_same "$T/one.f32" "$T/all.f32"
run embed "$bert" -p 'one two' --no-normalise; want_rc 0; planted want_same "$T/out" "$T/first"
run embed "$bert" -p 'one two' --pooling cls; want_rc 0; want_same "$T/out" "$T/first" # what the file says
for p in mean last; do run embed "$bert" -p 'one two' --pooling $p; want_rc 0; planted want_same "$T/out" "$T/first"; done
run embed "$bert" -p 'one two' --pooling none; want_rc 0; want_out '^\[\[.*\],\[.*\]\]$'
if command -v jq >/dev/null; then
  cp "$T/first" "$T/j"; want "not of length 1" jq -e '(map(.*.) | add | sqrt) as $l | $l > 0.99999 and $l < 1.00001 and length == 96' "$T/j" >/dev/null
  run embed "$bert" -p 'one two' --json; want_rc 0; cp "$T/out" "$T/j"
  want "not the object expected" jq -e '.index == 0 and .tokens > 2 and (.embedding | length) == 96' "$T/j" >/dev/null
fi
run embed embedded -p 'def f(x):' --ctx 64; want_rc 0; no_err # a model that gives text
run embed "$qwen" -p 'abc' --pooling last; want_rc 0

# refused: one sentence
long=$(i=0; while [ $i -lt 400 ]; do printf 'word '; i=$((i + 1)); done)
run embed "$bert" -p "$long"; want_rc 1; want_sentence; want_err 'tokens but the context holds 256'
run embed "$qwen" -p ''; want_rc 1; want_sentence; want_err 'empty'
printf 'one\n%s\n' "$long" >"$T/lines"
in=$T/lines; run embed "$bert"; want_rc 1; want_sentence; want_err 'line 2'; in=/dev/null
echo keep >"$T/kept"; cp "$T/kept" "$T/before"
in=$T/lines; run embed "$bert" -o "$T/kept"; want_rc 1; want_same "$T/kept" "$T/before"; in=/dev/null
run run "$bert" --raw -p x; want_rc 1; want_sentence; want_err 'gives embeddings, not text; use quern embed'
run logits "$bert" --tokens 1,2 -o "$T/l"; want_rc 1; want_sentence; want_err 'use quern embed'
run perplexity "$bert" -f "$T/lines"; want_rc 1; want_sentence; want_err 'use quern embed'

# wrong use
run embed "$bert" -p x -f y; want_rc 2; want_sentence
run embed "$bert" -p x --json -o "$T/x"; want_rc 2; want_sentence
run embed "$bert" -p x --pooling sum; want_rc 2; want_sentence; want_err "'sum'"
run embed "$bert" --query abc -p def; want_rc 1; want_sentence; want_err 'no reranker'; no_out
run embed "$bert" --query abc -p def --pooling mean; want_rc 2; want_sentence
finish
