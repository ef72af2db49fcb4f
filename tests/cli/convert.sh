#!/bin/sh
# quern convert: a checkpoint folder becomes a file that opens and runs; what is refused leaves nothing.
. "$(dirname "$0")/common"

# A llama of one layer, all weights zero. le32 writes the header's length.
le() { n=$1; for i in 1 2 3 4 5 6 7 8; do printf "\\$(printf %03o $((n % 256)))"; n=$((n / 256)); done; }
at=0 header=
tensor() { # NAME SHAPE ELEMENTS
  header="$header,\"$1\":{\"dtype\":\"F32\",\"shape\":[$2],\"data_offsets\":[$at,$((at + 4 * $3))]}"
  at=$((at + 4 * $3))
}
tensor model.embed_tokens.weight 16,8 128; tensor model.norm.weight 8 8; tensor lm_head.weight 16,8 128
for t in q k v o; do tensor model.layers.0.self_attn.${t}_proj.weight 8,8 64; done
for t in gate up; do tensor model.layers.0.mlp.${t}_proj.weight 16,8 128; done
tensor model.layers.0.mlp.down_proj.weight 8,16 128
tensor model.layers.0.input_layernorm.weight 8 8; tensor model.layers.0.post_attention_layernorm.weight 8 8
d=$T/Tiny; mkdir "$d" "$T/o"
header="{${header#,}}"
{ le ${#header}; printf %s "$header"; head -c "$at" /dev/zero; } >"$d/model.safetensors"
cat >"$d/config.json" <<'J'
{"architectures": ["LlamaForCausalLM"], "hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2,
 "num_hidden_layers": 1, "vocab_size": 16, "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0}
J
cat >"$d/tokenizer.json" <<'J'
{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"], "ignore_merges": false},
 "added_tokens": [{"id": 3, "content": "<|end|>", "special": true}, {"id": 99, "content": "<image>", "special": true}],
 "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true}}
J
nothing_new() { want "something was left in the folder" [ -z "$(ls "$T/o" 2>/dev/null)" ]; }

run convert "$d" -o "$T/o/m.gguf"; want_rc 0; no_err
want_out '^made .*: llama, 12 tensors, 0.00 MB, pre-tokenizer gpt-2; '; want_out '^  1 added tokens have no row'
planted want_out 'never said'
run show "$T/o/m.gguf"; want_rc 0; want_out Tiny
run logits "$T/o/m.gguf" --tokens 0,1,2 -o "$T/l"; want_rc 0
want "16 logits for each of 3 tokens" [ "$(stat -c %s "$T/l")" -ge 64 ]
run convert "$d/model.safetensors" -o "$T/again.gguf" -q; want_rc 0; no_err; no_out
want_same "$T/o/m.gguf" "$T/again.gguf"
run convert "$d" -o "$T/half.gguf" --type f16 --json --name Other; want_rc 0; want_out '"architecture":"llama"'
run show "$T/half.gguf"; want_out Other
rm "$T/o/m.gguf"

# refused: exit code 1, one sentence, nothing left
sed 's/"hidden_size": 8/"hidden_size": 12/' "$d/config.json" >"$T/c"; cp "$d/config.json" "$T/good"; cp "$T/c" "$d/config.json"
run convert "$d" -o "$T/o/m.gguf"; want_rc 1; want_sentence; want_err 'model.embed_tokens.weight: its shape is \[16, 8\], but by config.json'; nothing_new
sed 's/Llama/Nonesuch/' "$T/good" >"$d/config.json"
run convert "$d" -o "$T/o/m.gguf"; want_rc 1; want_sentence; want_err 'NonesuchForCausalLM is not known'; nothing_new
cp "$T/good" "$d/config.json"; cp "$d/model.safetensors" "$T/whole"
run convert "$d" -o "$d/model.safetensors"; want_rc 1; want_sentence; want_err 'is one of the inputs'; want_same "$T/whole" "$d/model.safetensors"
head -c 2000 "$T/whole" >"$d/model.safetensors"
run convert "$d" -o "$T/o/m.gguf"; want_rc 1; want_sentence; nothing_new
cp "$T/whole" "$d/model.safetensors"
sed 's/"ByteLevel", "add/"Whitespace", "add/' "$d/tokenizer.json" >"$T/t"; cp "$T/t" "$d/tokenizer.json"
run convert "$d" -o "$T/o/m.gguf"; want_rc 1; want_sentence; nothing_new
run convert "$T/nothing" -o "$T/o/m.gguf"; want_rc 1; want_sentence; nothing_new
run convert "$d" -o "$T/no/m.gguf"; want_rc 1; want_sentence

# wrong use
run convert "$d"; want_rc 2; want_sentence; want_err '-o OUT.gguf is missing'
run convert; want_rc 2; want_sentence
run convert "$d" -o "$T/o/m.gguf" --type q4; want_rc 2; want_sentence; nothing_new
finish
