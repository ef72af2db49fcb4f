#!/bin/sh
# quern show: a table for people, the same as JSON for programs, of any model file, also one that does not run here.
. "$(dirname "$0")/common"

run show; want_rc 0; no_err; want_out '^seedling$'; want_out 'architecture +qwen2'; want_out 'context +2048 tokens'
want_out 'quantisation +Q8_0'; want_out '<\|im_end\|>'; cp "$T/out" "$T/table"
planted want_out 'architecture +llama'
run show embedded; want_rc 0; want_same "$T/out" "$T/table"
run show "$(dirname "$0")/../../models/seedling-q8_0.gguf"; want_rc 0; want_out 'architecture +qwen2'
run show --tensors; want_rc 0; want_out ' token_embd.weight$'; want_out 'blk.3.ffn_down.weight$'
run show --json; want_rc 0; no_err; cp "$T/out" "$T/json"
if command -v jq >/dev/null; then
  want "not the JSON expected" jq -e '.architecture == "qwen2" and .context == 2048 and .supported and (has("tensors") | not)' "$T/json" >/dev/null
  run show --json --tensors; cp "$T/out" "$T/json"
  want "no tensors in the JSON" jq -e '.tensors | length > 30' "$T/json" >/dev/null
else
  echo "jq is missing: the JSON was not read"
fi
for f in "$SHARED"/golden/models/*.gguf; do
  [ -e "$f" ] || break
  run show "$f" --tensors; want_rc 0; no_err; want_out 'architecture +[a-z]'
done
finish
