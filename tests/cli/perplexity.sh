#!/bin/sh
# quern perplexity: text the model was trained on is likelier than noise; the figure is the same each time.
. "$(dirname "$0")/common"

i=0; while [ $i -lt 40 ]; do echo 'def add(a, b):'; echo '    return a + b'; echo; i=$((i + 1)); done >"$T/code"
i=0; while [ $i -lt 40 ]; do echo "zq#$i;K%x~$((i * 7919 % 997))@wvQ^"; i=$((i + 1)); done >"$T/noise"
figure() { sed -n 's/^perplexity \([0-9]*\).*/\1/p' "$T/out"; }
run perplexity embedded -f "$T/code" --ctx 128; want_rc 0; no_err
want_out '^perplexity [0-9]+\.[0-9]+ \+- [0-9.]+ \([0-9.]+ nats per token; [0-9]+ of [0-9]+ tokens scored, context 128\)$'
code=$(figure); cp "$T/out" "$T/first"
run perplexity embedded -f "$T/code" --ctx 128 --threads 1 --chunk 16; want_rc 0; want_same "$T/out" "$T/first"
run perplexity embedded -f "$T/noise" --ctx 128; want_rc 0
noise=$(figure)
want "noise ($noise) is not less likely than code ($code)" [ "$noise" -gt "$code" ]
planted want "" [ "$code" -gt "$noise" ]
in=$T/code; run perplexity embedded -f - --ctx 128; want_rc 0; want_same "$T/out" "$T/first"; in=/dev/null
run perplexity embedded -f "$T/code" --json; want_rc 0
if command -v jq >/dev/null; then
  cp "$T/out" "$T/json"; want "not the JSON expected" jq -e '.perplexity > 1 and .scored > 10 and .ctx == 512' "$T/json" >/dev/null
fi
printf x >"$T/short"; run perplexity embedded -f "$T/short"; want_rc 1; want_sentence
run perplexity embedded -f "$T/code" --ctx 1; want_rc 1; want_sentence
finish
