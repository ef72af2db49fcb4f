#!/bin/sh
# quern cache, and --kv-disk of run: a second process does not read the prompt again, and says the same.
. "$(dirname "$0")/common"
D=$T/kv
head -c 1500 "$(dirname "$0")/common" >"$T/prompt"
run run -f "$T/prompt" -n 12; want_rc 0; cp "$T/out" "$T/want"
run run -f "$T/prompt" -n 12 --kv-disk "$D"; want_rc 0; want_same "$T/out" "$T/want"
planted want_err ' cached'
run run -f "$T/prompt" -n 12 --kv-disk "$D" --kv-ram 8M; want_rc 0; want_same "$T/out" "$T/want"; want_err ', [0-9]+ cached'
run run -f "$T/prompt" -n 12 --kv-disk "$D" --kv q8_0; want_rc 0
planted want_err ' cached'

run cache ls --dir "$D"; want_rc 0; no_err; want_out 'seedling  f16  [0-9]+ tokens in [0-9]+ files'; want_out 'q8_0'
want_out 'of 2 models$'
if command -v jq >/dev/null; then
  run cache ls --dir "$D" --json; want_rc 0
  want "not the JSON expected" jq -e '(.models | length) == 2 and .models[0].usable and .models[0].tokens > 64 and .bytes > 0' "$T/out" >/dev/null
fi
run cache verify --dir "$D"; want_rc 0; no_err; want_out '^checked'
f=$(find "$D" -name '*.kv' | head -n 1)
want "the file is readable for others" [ "$(stat -c %a "$f")" = 600 ]
want "the directory is readable for others" [ "$(stat -c %a "$D")" = 700 ]
printf 'x' | dd of="$f" bs=1 seek=5000 conv=notrunc 2>/dev/null
run cache verify --dir "$D"; want_rc 1; want_sentence; want_err 'damaged'
for kv in f16 q8_0; do run run -f "$T/prompt" -n 12 --kv-disk "$D" --kv $kv; want_rc 0; done # met and replaced
run cache verify --dir "$D"; want_rc 0
printf 'y' | dd of="$f" bs=1 seek=5000 conv=notrunc 2>/dev/null
run cache verify --dir "$D" --remove; want_rc 1
run cache verify --dir "$D"; want_rc 0

run cache rm --dir "$D" --model nothing-like-it; want_rc 1; want_sentence; want_err "'nothing-like-it'"
run cache rm --dir "$D" --older 1; want_rc 0; want_out '^removed 0 files'
touch "$D/a-file-of-mine"
for kv in f16 q8_0; do run run -f "$T/prompt" -n 12 --kv-disk "$D" --kv $kv; want_rc 0; done
id=$("$Q" cache ls --dir "$D" | sed -n '1s/ .*//p')
run cache rm --dir "$D" --model "$id"; want_rc 0
run cache ls --dir "$D"; want_out 'of 1 model$'
run cache rm --dir "$D" --model seedling; want_rc 0
run cache ls --dir "$D"; want_out 'of 0 models$'
run cache rm --dir "$D" --all; want_rc 0
run cache ls --dir "$D"; want_out ': 0 B of 0 models$'
want "somebody else's file was removed" [ -f "$D/a-file-of-mine" ]

# where it is by default
XDG_CACHE_HOME=$T/x; export XDG_CACHE_HOME
run cache ls; want_rc 0; want_out "^$T/x/quern/kv: 0 B"
unset XDG_CACHE_HOME

# wrong use
run cache; want_rc 2; want_sentence
run cache rn; want_rc 2; want_sentence; want_err "'rn' is none of ls, rm, verify"
run cache rm --dir "$D"; want_rc 2; want_sentence; want_err '\-\-all'
run cache ls --all; want_rc 2; want_sentence
run cache rm --all --older 3; want_rc 2; want_sentence
run cache rm --all --remove; want_rc 2; want_sentence
for v in '' x 1x 5MB -1 1.5G 99999999999999 20000000T ' 1'; do
  run run -p x --kv-ram "$v"; want_rc 2; want_sentence; want_err '\-\-kv-ram'
done
# directories that will not do
run run -p x -q --kv-disk /dev/null; want_rc 1; want_sentence; want_err '/dev/null'
mkdir "$T/open" && chmod 777 "$T/open"
run run -p x -q --kv-disk "$T/open"; want_rc 1; want_sentence; want_err 'others may write'
# no room: said once, and the answer is the same
(ulimit -f 100; "$Q" run -f "$T/prompt" -n 12 --kv-disk "$T/kv2" >"$T/out" 2>"$T/err" </dev/null; echo $? >"$T/rc")
what="a limit on file sizes"; rc=$(cat "$T/rc"); want_rc 0; want_same "$T/out" "$T/want"; want_err 'could not be kept on disk.*cannot write'
finish
