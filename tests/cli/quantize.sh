#!/bin/sh
# quern quantize: a file that runs, of the size that was said before; what is refused leaves nothing.
. "$(dirname "$0")/common"

data=$(dirname "$0")/../data/models
f16=$data/qwen2.gguf q4=$data/llama-256-q4_k_m.gguf
size() { stat -c %s "$1"; }
nothing_new() { want "something was left in the folder" [ -z "$(ls "$T/o" 2>/dev/null)" ]; }
mkdir "$T/o"

for t in Q8_0 q6_k Q5_K_M Q5_K_S Q4_K_M Q4_K_S Q4_0 Q3_K_M Q3_K_S Q3_K_L Q2_K IQ4_XS IQ4_NL MXFP4; do
  run quantize "$f16" "$t" --dry-run --json; want_rc 0; no_err
  said=$(sed -n 's/.*"bytes_out":\([0-9]*\).*/\1/p' "$T/out"); nothing_new
  run quantize "$f16" "$T/o/m.gguf" "$t"; want_rc 0; no_err; want_out "^made $t: $said bytes "
  want "the size is $(size "$T/o/m.gguf"), not the $said said before" [ "$(size "$T/o/m.gguf")" = "$said" ]
  run logits "$T/o/m.gguf" --tokens 1,2,3 -o "$T/l"; want_rc 0
  rm -f "$T/o/m.gguf"
done
planted want "" [ "$said" = 1 ]

# the same bytes whatever the threads
for n in 1 2 5; do run quantize "$f16" "$T/$n.gguf" Q4_K_M -t $n -q; want_rc 0; no_err; no_out; done
want_same "$T/1.gguf" "$T/2.gguf"; want_same "$T/1.gguf" "$T/5.gguf"

# refused: exit code 1, one sentence, nothing left
run quantize "$q4" "$T/o/m.gguf" Q8_0; want_rc 1; want_sentence; want_err 'quantised already'; nothing_new
run quantize "$q4" "$T/o/m.gguf" Q8_0 --allow-requantize; want_rc 0; rm "$T/o/m.gguf"
cp "$f16" "$T/same.gguf"; ln -s same.gguf "$T/link.gguf"; cp "$T/same.gguf" "$T/before"
run quantize "$T/same.gguf" "$T/same.gguf" Q8_0; want_rc 1; want_sentence; want_err 'is the input'
run quantize "$T/same.gguf" "$T/link.gguf" Q8_0; want_rc 1; want_err 'is the input'
want_same "$T/same.gguf" "$T/before"
run quantize "$T/nothing.gguf" "$T/o/m.gguf" Q8_0; want_rc 1; want_sentence; nothing_new
head -c 100000 "$f16" >"$T/cut.gguf"; run quantize "$T/cut.gguf" "$T/o/m.gguf" Q8_0; want_rc 1; want_sentence; nothing_new
run quantize "$f16" "$T/no/m.gguf" Q8_0; want_rc 1; want_sentence
run quantize "$f16" "$T/o" Q8_0; want_rc 1; want_sentence; want_err 'directory'
run quantize "$f16" /dev/null Q8_0; want_rc 1; want_sentence; want_err 'not a regular file'
run quantize "$f16" "$T/o/m.gguf" Q8_0 --imatrix "$f16"; want_rc 1; want_sentence; want_err 'not an importance matrix'; nothing_new

# Ctrl-C at any moment: all or nothing
seedling=$(dirname "$0")/../../models/seedling-q8_0.gguf
if timeout --version 2>/dev/null | grep -q GNU; then
  for after in 0.02 0.05 0.1 0.15 0.2; do
    what="quern quantize, Ctrl-C after $after s"
    timeout --preserve-status -s INT $after "$Q" quantize "$seedling" "$T/o/m.gguf" Q2_K --allow-requantize -t 1 >"$T/out" 2>"$T/err"
    rc=$?
    if [ $rc = 0 ]; then rm "$T/o/m.gguf"; else want_rc 130; fi
    nothing_new
  done
fi

# wrong use
run quantize "$f16" "$T/o/m.gguf" Q4_K_N; want_rc 2; want_sentence; want_err 'did you mean Q4_K_[MS]'; nothing_new
run quantize "$f16" "$T/o/m.gguf"; want_rc 2; want_sentence; want_err 'TYPE is missing'
run quantize "$f16"; want_rc 2; want_sentence
run quantize "$f16" "$T/o/m.gguf" Q8_0 --threads 0; want_rc 2; want_sentence; nothing_new
finish
