#!/bin/sh
# quern synth: random-weight files of real shapes that run; the same bytes each time; what is refused leaves nothing.
. "$(dirname "$0")/common"

nothing_new() { want "something was left in the folder" [ -z "$(ls "$T/o" 2>/dev/null)" ]; }
mkdir "$T/o"
run synth --list; want_rc 0; no_err; want_out '^qwen2.5-coder-1.5b$'; want_out '^qwen3-coder-30b-a3b$'; want_out '^north-mini-code$'
run synth --list --json; want_rc 0; want_out '^\{"shapes":\["qwen2.5-coder-0.5b",.*"types":\[.*"Q4_K_M"'

for s in tiny tiny-qwen3moe tiny-cohere2moe; do
  for t in Q4_K_M q8_0 Q2_K IQ4_XS MXFP4 F16; do
    run synth $s $t "$T/m.gguf"; want_rc 0; no_err; want_out "^made $s $t: $(stat -c %s "$T/m.gguf") bytes "
    run logits "$T/m.gguf" --tokens 1,2,3 -o "$T/l"; want_rc 0
    want "logits of $s $t are not finite" [ "$(od -An -v -tf4 "$T/l" | grep -c -E 'nan|inf')" = 0 ]
  done
done
planted want "" [ "$(printf '\0\0\300\177' | od -An -v -tf4 | grep -c -E 'nan|inf')" = 0 ]

# types as in files of that name: the router stays, the experts' way down gets more bits in some layers
run synth tiny-cohere2moe Q4_K_M "$T/m.gguf"; want_rc 0
run show "$T/m.gguf" --tensors
want_out '^ +F32 +256 x 8 +blk.1.ffn_gate_inp.weight'
want_out '^ +Q4_K +256 x 256 x 8 +blk.1.ffn_down_exps.weight'
want_out '^ +Q6_K +256 x 256 x 8 +blk.4.ffn_down_exps.weight'
want_out '^ +Q6_K +256 x 512 +token_embd.weight'
want_out 'window +64'

# the same bytes; fewer layers; the vocabulary reads any text
run synth tiny Q4_K_M "$T/a.gguf" -q; want_rc 0; no_out; no_err
run synth TINY q4_k_m "$T/b.gguf" --json; want_rc 0; no_err; want_out '^\{"output":".*","shape":"TINY","type":"q4_k_m","bytes":[0-9]+,"seconds":'
want_same "$T/a.gguf" "$T/b.gguf"
run synth tiny Q4_K_M "$T/b.gguf" --layers 1; want_rc 0
want "one layer is not smaller than two" [ "$(stat -c %s "$T/b.gguf")" -lt "$(stat -c %s "$T/a.gguf")" ]
run show "$T/b.gguf"; want_out 'layers +1$'
printf 'a!!\303\251\n' >"$T/text"; in=$T/text
run tokenize "$T/a.gguf"; want_rc 0; want_out '^\[97, ?256, ?195, ?169\]$'
in=/dev/null

# refused
run synth tiny Q8_0 "$T/no/m.gguf"; want_rc 1; want_sentence
run synth tiny Q8_0 "$T/o"; want_rc 1; want_sentence; nothing_new
run synth tinny Q8_0 "$T/o/m"; want_rc 2; want_sentence; want_err 'did you mean tiny\?'; nothing_new
run synth tiny Q8_1 "$T/o/m"; want_rc 2; want_sentence; want_err "no file type 'Q8_1'; did you mean"; nothing_new
run synth; want_rc 2; want_sentence; want_err 'SHAPE is missing'
run synth tiny; want_rc 2; want_sentence; want_err 'TYPE is missing'
run synth tiny Q8_0; want_rc 2; want_sentence; want_err 'OUT.gguf is missing'
run synth --list tiny; want_rc 2; want_sentence
for v in 0 -1 1025 x; do run synth tiny Q8_0 "$T/o/m" --layers $v; want_rc 2; want_sentence; nothing_new; done

# Ctrl-C: all or nothing
if timeout --version 2>/dev/null | grep -q GNU; then
  what="quern synth, Ctrl-C"
  timeout --preserve-status -s INT 0.2 "$Q" synth qwen2.5-coder-0.5b Q8_0 "$T/o/m.gguf" >"$T/out" 2>"$T/err"
  rc=$?; want_rc 130; want_sentence; nothing_new
fi
finish
