#!/bin/sh
# A really trained model end to end: tokenizer, decoder, sampler, detokenizer give the greedy text that its author printed.
. "$(dirname "$0")/common"

dir=${SHARED:-../shared}/data/models/stories260K
if [ ! -f "$dir/stories260Ktok512.gguf" ]; then echo "skipped: no $dir here"; exit 77; fi
# The story stands in the model's notes behind the command that printed it.
sed -n '/-t 0\.0$/,/^```$/p' "$dir/stories260K.md" | sed '1d;$d' >"$T/lines"
printf %s "$(cat "$T/lines")" >"$T/story"
want "no story in the notes" [ -s "$T/story" ]
for cpu in $(for l in ref avx2 avx512; do "$Q" run --cpu $l -n 0 -p x >/dev/null 2>&1 && echo $l; done); do
  run run "$dir/stories260Ktok512.gguf" --raw -p 'Once upon a time' --temp 0 --ctx 512 -n 300 --cpu "$cpu"
  want_rc 0
  { printf 'Once upon a time'; cat "$T/out"; } | head -c "$(wc -c <"$T/story")" >"$T/told"
  want "at $cpu another story" cmp -s "$T/told" "$T/story"
done
sed 's/red ball/blue ball/' "$T/story" >"$T/wrong"
planted want "" cmp -s "$T/told" "$T/wrong"
finish
