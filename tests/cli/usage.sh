#!/bin/sh
# Help on everything, and wrong use: exit code 2 and a sentence that names what is wrong and the nearest right name.
. "$(dirname "$0")/common"

run --version; want_rc 0; want_out '^quern [0-9]+\.[0-9]+\.[0-9]+$'; no_err
planted want_rc 1
planted want_out '^nothing like it$'
planted want_sentence
run help; want_rc 0; no_err
for c in $("$Q" help | sed -n 's|^  \([a-z]*\)  *[A-Z].*|\1|p' | grep -v '^help'); do
  listed=$((${listed:-0} + 1))
  what="quern help"; run help; want_out "^  $c "
  run help "$c"; want_rc 0; want_out "^quern $c "; want_out '^Options:'; no_err; cp "$T/out" "$T/help"
  run "$c" --help; want_rc 0; want_same "$T/out" "$T/help"
  run "$c" --no-such-option; want_rc 2; want_sentence; want_err "quern: $c: unknown option --no-such-option"; no_out
  for o in $(grep -oE -e '--[a-z][a-z0-9-]*' "$T/help" | sort -u); do
    want "$o in help of $c is not in the manual" grep -qF -e "$(printf %s "$o" | sed 's/-/\\-/g')" "$(dirname "$0")/../../docs/quern.1"
  done
done
want "only ${listed:-0} commands are listed" [ "${listed:-0}" -ge 6 ]
run; want_rc 2; want_sentence; no_out
run rum; want_rc 2; want_sentence; want_err "'rum'; did you mean run"
run help shwo; want_rc 2; want_sentence; want_err 'did you mean show'
run --hlep; want_rc 2; want_sentence; want_err '--hlep'
run run --tmep 1; want_rc 2; want_sentence; want_err 'unknown option --tmep; did you mean --temp'
run run --temp; want_rc 2; want_sentence; want_err '--temp needs a value'
run run --raw=1; want_rc 2; want_err '--raw takes no value'
run run a b; want_rc 2; want_sentence; want_err "'b' is one argument too many"
for c in tokenize render logits perplexity embed imatrix; do
  run $c; want_rc 2; want_sentence; want_err 'MODEL'
done
run logits embedded -o x; want_rc 2; want_err '--tokens'
run logits embedded --tokens 1; want_rc 2; want_err '-o OUT'
run render embedded; want_rc 2; want_err '--messages'
run perplexity embedded; want_rc 2; want_err '-f TEXT'

# numbers: all of the text, and in range
bad() { # OPTION VALUE
  run run -p x "$1" "$2" </dev/null
  want_rc 2; want_sentence; no_out
  want "the option and its value are not named" grep -qF "quern: run: $1: '$2' is " "$T/err"
}
for v in '' x 1x ' 1' 1.5 -2 2147483648 99999999999999999999 0x10; do bad -n "$v"; done
for v in '' x 1x -1 101 nan 0x1p3 1,5; do bad --temp "$v"; done
for v in '' -1 1.1 nan inf; do bad --top-p "$v"; bad --min-p "$v"; bad --typical "$v"; done
for v in '' -1 1.5 18446744073709551616 +1 ' 1'; do bad --seed "$v"; done
for v in 0 -1 x 513; do bad --threads "$v"; done
for v in x 1- 2-1 1,1 0,; do run run embedded -q --cpus "$v" -p x; want_rc 1; want_sentence; want_err cpus; no_out; done
for v in 0 -1 x 16777217; do bad --ctx "$v"; done
for v in 0 -5 2.5; do bad --chunk "$v"; done
for v in f17 F16 '' f16\|f32; do bad --kv "$v"; done
for v in 5 =1 5= x=1 5=x -1=2 5=nan 5=-inf; do bad --logit-bias "$v"; done
run run -p x --cpu avx9; want_rc 2; want_sentence; want_err "'avx9'"; want_err ref
run run -p x --stop ''; want_rc 2; want_sentence; want_err '--stop'
run run -p x --raw --system y; want_rc 2; want_sentence; want_err '--system'
for v in '' , 1, ,1 1,,2 1,x -1 1.5 '1 2' 2147483648; do
  run logits embedded --tokens "$v" -o "$T/o"; want_rc 2; want_sentence; want_err '--tokens'
done
run logits embedded --tokens 1,2 --rows 3 -o "$T/o"; want_rc 2; want_sentence; want_err '3 is more than the 2'
run logits embedded --tokens 1,2 --rows 0 -o "$T/o"; want_rc 2; want_sentence
run tokenize embedded --add-bos maybe; want_rc 2; want_sentence; want_err "'maybe' is none of auto\|yes\|no"
for v in 2026-13-01 2026-02-29 2026-1-1 x '' 2026-01-01x; do
  run render embedded --messages - --date "$v"; want_rc 2; want_sentence; want_err '--date'
done
for v in a =1 a= a=b 'a={'; do
  run render embedded --messages - --var "$v"; want_rc 2; want_sentence; want_err '--var'
done
finish
