#!/bin/sh
# quern logits: raw little-endian floats, the same bytes however they were computed, a file that appears whole or not at all.
. "$(dirname "$0")/common"

ids=$(printf 'def add(a, b):\n    return a + b\n' | tr '\n' ' ' | "$Q" tokenize embedded | tr -d '[]')
n=$(echo "$ids" | tr ',' '\n' | wc -l)
run logits embedded --tokens "$ids" -o "$T/one"; want_rc 0; no_out; no_err
want "one row has $(wc -c <"$T/one") bytes" [ "$(wc -c <"$T/one")" = 8192 ]
run logits embedded --tokens "$ids" --rows "$n" -o "$T/all"; want_rc 0
want "all rows have $(wc -c <"$T/all") bytes" [ "$(wc -c <"$T/all")" = $((8192 * n)) ]
tail -c 8192 "$T/all" >"$T/last"; want_same "$T/one" "$T/last"
for how in "--threads 1" "--threads 4" "--chunk 1" "--chunk 7 --threads 2"; do
  run logits embedded --tokens "$ids" --rows "$n" $how -o "$T/other"; want_rc 0; want_same "$T/all" "$T/other"
done
run logits embedded --tokens "$ids" --rows "$n" --kv f32 -o "$T/f32"; want_rc 0
planted want_same "$T/f32" "$T/all" # another KV type gives other bits: the comparison can fail
"$Q" logits embedded --tokens "$ids" -o - >"$T/stdout"; want_same "$T/one" "$T/stdout"

run logits embedded --tokens "$ids" --rows "$n" --kv q8_0 -o "$T/q8"; want_rc 0
planted want_same "$T/q8" "$T/all"

# Refusals leave what was there
echo keep >"$T/kept"; cp "$T/kept" "$T/before"
run logits embedded --tokens 1,99999 -o "$T/kept"; want_rc 1; want_sentence; want_err 99999; want_same "$T/kept" "$T/before"
run logits embedded --tokens 1,2,3 --ctx 2 -o "$T/kept"; want_rc 1; want_sentence; want_err 3; want_same "$T/kept" "$T/before"
run logits embedded --tokens 1 -o "$T/no/such/folder"; want_rc 1; want_sentence; want_err 'No such file'
run logits embedded --tokens 1 -o "$T"; want_rc 1; want_sentence; want_err 'irectory'
if [ -c /dev/full ]; then
  run logits embedded --tokens 1 -o /dev/full; want_rc 1; want_sentence; want_err 'No space left'
  want "/dev/full was replaced" [ -c /dev/full ]
fi
run logits embedded --tokens 1 -o /dev/null; want_rc 0; want "/dev/null was replaced" [ -c /dev/null ]
ln -s "$T/target" "$T/link"; : >"$T/target"
run logits embedded --tokens "$ids" -o "$T/link"; want_rc 0; want "the link was replaced" [ -L "$T/link" ]; want_same "$T/target" "$T/one"
want "temporary files are left" [ -z "$(find "$T" -name '*.??????' ! -name '*.json')" ]
finish
