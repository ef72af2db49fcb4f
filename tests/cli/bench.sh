#!/bin/sh
# quern bench: its forms, its names of tests, wrong use. No figure is judged.
. "$(dirname "$0")/common"

json() { # PYTHON CONDITION on j
  printf '%s' "$1" >"$T/cond"
  want "not so in the JSON: $1" python3 -c '
import json, sys
j = json.load(open(sys.argv[1]))
sys.exit(not eval(open(sys.argv[2]).read()))' "$T/out" "$T/cond"
}
have_python=$(command -v python3 || true)
m=$T/m.gguf
run synth tiny Q4_K_M "$m" -q; want_rc 0

run bench "$m" -p 32 -n 4 -r 1 -t 1 --json -q; want_rc 0; no_err
want_out '^\{"ceilings":\{.*\},"results":\[\{"test":"pp32","tokens_per_second":[0-9.e+]+,"spread":\[[0-9.e+]+,[0-9.e+]+\],"ceiling_share":[0-9.e-]+\},\{"test":"tg4",.*\}\]\}$'
if [ "$have_python" ]; then
  run bench "$m" -p 16,64 -n 8 -d 0,100 -s 1,3 -r 3 -t 1 --json -q; want_rc 0
  json 'set(j) == {"ceilings", "results"}'
  json '[r["test"] for r in j["results"]] == ["pp16", "pp64", "tg8", "tg8x3", "pp16@100", "pp64@100", "tg8@100", "tg8@100x3"]'
  json 'all(set(r) == {"test", "tokens_per_second", "spread", "ceiling_share"} for r in j["results"])'
  json 'all(r["spread"][0] <= r["tokens_per_second"] <= r["spread"][1] and 0 < r["ceiling_share"] <= 1 for r in j["results"])'
  json 'j["ceilings"]["threads"] == [1] and all(j["ceilings"][k][0] > 0 for k in ("bytes_per_second", "small_pages_bytes_per_second", "int8_ops_per_second", "int8_vector_ops_per_second", "fp32_ops_per_second"))'
  planted json 'j["results"] == []'
  run bench "$m" -p 0 -n 4 -r 2 -t 1,2 --kv f16,f32 --json -q; want_rc 0
  json '[r["test"] for r in j["results"]] == ["tg4/t1/f16", "tg4/t1/f32", "tg4/t2/f16", "tg4/t2/f32"]'
  json 'j["ceilings"]["threads"] == [1, 2]'
  run bench "$m" -p 40 -n 0 -r 1 -t 3 -b 8,16 --json -q; want_rc 0
  json '[r["test"] for r in j["results"]] == ["pp40/b8", "pp40/b16"]'
  json 'j["ceilings"]["threads"] == [1, 2, 3]'
fi
run bench "$m" -p 32 -n 4 -r 1 -t 1 -q; want_rc 0; no_err; want_out '^tiny \(qwen2\), '; want_out '^ +1 thread.* GB/s '; want_out '^pp32 .* % of '
run bench "$m" -p 32 -n 4 -r 1 -t 1 -q --csv; want_rc 0; want_out '^test,threads,kv,tokens_per_second,min,max,ceiling,ceiling_share,bound$'; want_out '^tg4,1,f16,[0-9.]+,'
run bench "$m" -p 32 -n 4 -r 1 -t 1 -q --markdown; want_rc 0; want_out '^\| pp32 \| 1 \| f16 \| '
run bench "$m" -p 32 -n 4 -r 1 -t 1 -q --cpu ref; want_rc 0; want_out '^level ref;'
run synth tiny-cohere2moe Q8_0 "$m" -q; want_rc 0
run bench "$m" -p 80 -n 4 -d 70 -r 1 -t 1 -q --csv; want_rc 0; want_out '^tg4@70,'

# wrong use
for o in '-p x' '-p 1,' '-n -1' '-d 1,,2' '-s 0' '-t 0' '-t 513' '-r 0' '--kv f17' '--kv f16,' '--cpu avx9' '-b 0' '-b 1,x' '--csv --json' '-p 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17'; do
  # shellcheck disable=SC2086
  run bench "$m" $o; want_rc 2; want_sentence; no_out
done
run bench "$m" -p 8 -n 0 -r 1 --cpus 0,0 -q; want_rc 1; want_sentence; want_err twice; no_out
run bench; want_rc 2; want_sentence; want_err 'MODEL'
run bench "$T/nothing.gguf"; want_rc 1; want_sentence; no_out
finish
