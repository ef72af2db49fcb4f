#!/bin/sh
# The fixed forms against what independent engines produced: ids of every vocabulary's texts by way of `tokenize --hex`,
# every 37th rendering by way of `render`. (tests/golden compares the library itself, and all of it.)
. "$(dirname "$0")/common"
G=$SHARED/golden
[ -d "$G" ] || { echo "skipped: $G is not there"; exit 77; }
command -v jq >/dev/null || { echo "skipped: jq is not installed"; exit 77; }
vocabularies=0 texts=0 rendered=0 raised=0

# In hexadecimal, what is UTF-8: how bytes that are no text are tokenized is each engine's own policy.
c='[89ab].' # a byte that continues a character
utf8="^([0-7].|c[2-9a-f]$c|d.$c|e0[ab].$c|e[1-9abcef]$c$c|ed[89].$c|f0[9ab].$c$c|f[123]$c$c$c|f48.$c$c)*\$"
for v in "$G"/tokenizers/*.extra.jsonl; do
  in=$T/hex
  jq -c --arg re "$utf8" 'select(.hex | test($re))' "$v" >"$T/texts"
  jq -r .hex "$T/texts" >"$T/hex"; jq -c .ids "$T/texts" >"$T/plain"; jq -c .ids_special "$T/texts" >"$T/special"
  run tokenize "${v%.extra.jsonl}.gguf" --hex --add-bos no --no-special; want_rc 0; no_err; want_same "$T/out" "$T/plain"
  run tokenize "${v%.extra.jsonl}.gguf" --hex --add-bos no; want_rc 0; no_err; want_same "$T/out" "$T/special"
  vocabularies=$((vocabularies + 1)) texts=$((texts + $(wc -l <"$T/texts")))
done
in=/dev/null
planted want_same "$T/out" "$T/hex"

jq -c '.[]' "$G/templates/conversations.json" >"$T/conversations"
awk 'NR % 37 == 1' "$G/templates/renderings.jsonl" >"$T/rows"
while IFS= read -r row; do
  printf %s "$row" >"$T/row"
  jq -r '.template, .conversation, .add_generation_prompt, (.error // "")[:14]' "$T/row" >"$T/fields"
  { read -r template; read -r conversation; read -r open; read -r error; } <"$T/fields"
  [ -z "$error" ] || [ "$error" = TemplateError: ] || continue # the reference's own failures
  jq -c --arg n "$conversation" 'select(.name == $n)' "$T/conversations" >"$T/c"
  jq -c .messages "$T/c" >"$T/messages"
  jq -r '.extra // {} | to_entries[] | "\(.key)=\(.value | tojson)"' "$T/c" >"$T/vars"
  set -- --messages "$T/messages" --date 2026-01-02 --var 'bos_token="<BOS>"' --var 'eos_token="<EOS>"' \
    --var 'unk_token="<UNK>"' --var 'pad_token="<PAD>"'
  if [ "$(jq -c '.tools // empty' "$T/c")" ]; then jq -c .tools "$T/c" >"$T/tools"; set -- "$@" --tools "$T/tools"; fi
  while IFS= read -r var; do set -- "$@" --var "$var"; done <"$T/vars"
  [ "$open" = true ] || set -- "$@" --no-generation-prompt
  run render "$G/templates/$template" "$@"
  what="$template with $conversation, generation prompt $open"
  if [ "$error" ]; then
    want_rc 1; want_sentence; raised=$((raised + 1))
  else
    jq -j .text "$T/row" >"$T/text"
    want_rc 0; want_same "$T/out" "$T/text"; rendered=$((rendered + 1))
  fi
done <"$T/rows"
want "too few rows were compared" [ "$rendered" -gt 20 ]
want "too few texts were compared" [ "$texts" -gt 500 ]
echo "figure: $texts texts in $vocabularies vocabularies, $rendered renderings and $raised refusals through the command, $failures wrong"
finish
