#!/bin/sh
# quern compare: a model against itself is a tie; wrong use is said; a suite's mistakes are named with file and line; quantisations.
. "$(dirname "$0")/common"

cat >"$T/s.md" <<'S'
# Small
max_tokens: 40

## call
check: regex
```prompt
Write a Python function that returns the sum of a list.
```
```check
def \w+\(
```
```good
def f(
```
```bad
none
```

## never
check: exact
```prompt
What is the capital of France?
```
```check
Paris
```
S
run compare embedded embedded --suite "$T/s.md" --ledger "$T/l.db"; want_rc 0; no_err
want_out 'NOT TOLD APART.*No difference can be told between A and B'
want_out '^  never +exact +never \(0/3\) +never \(0/3\)'
want_out 'run|Run 1'; want_out 'as written'
run compare embedded embedded --suite "$T/s.md" --ledger "$T/l.db" --json --runs 2 --html "$T/p.html" --markdown "$T/p.md"; want_rc 0; no_err
want "no page" grep -q 'NOT TOLD APART' "$T/p.html"
want "no Markdown" grep -q 'NOT TOLD APART' "$T/p.md"
if command -v jq >/dev/null; then
  cp "$T/out" "$T/json"
  want "not a tie" jq -e '.kind == "compare" and .pairs[0].p == 1 and .pairs[0].ties == 2 and .contenders[0].solid == .contenders[1].solid and .contenders[0].never >= 1' "$T/json" >/dev/null
  want "the answers differ" jq -e '.items | all(.contenders[0].answers == .contenders[1].answers and (.contenders[0].answers | length) == 2)' "$T/json" >/dev/null
  planted want "" jq -e '.pairs[0].different' "$T/json" >/dev/null
fi
# Judged again: first as it was, then with another check, which changes just its own verdicts; then without the question.
run compare --rescore 1 --ledger "$T/l.db"; want_rc 0; no_err; want_out 'Judged again'; want_out '^0 of 12 answers have another verdict'
sed 's/^Paris$/./; s/^check: exact/check: regex/' "$T/s.md" >"$T/s2.md"
run compare --rescore 1 --suite "$T/s2.md" --ledger "$T/l.db"; want_rc 0; no_err
want_out '^6 of 12 answers have another verdict'; want_out '^  never +A +1 +wrong +right'; want_out '^  never +regex +solid \(3/3\)'
planted want_out '^  call +A +1 '
sed '/^## never/,$d; s/sum of a list/sum of two/' "$T/s.md" >"$T/s3.md"
run compare --rescore 1 --suite "$T/s3.md" --ledger "$T/l.db"; want_rc 1; want_sentence; want_err 'asks nothing'
sed '/^## never/,$d' "$T/s.md" >"$T/s4.md"
run compare --rescore 2 --suite "$T/s4.md" --ledger "$T/l.db"; want_rc 0; want_out 'Left out: never: '; want_out '^0 of 6 answers'
run compare --rescore 99 --ledger "$T/l.db"; want_rc 1; want_sentence; want_err 'has no run 99'
run compare --rescore 1 embedded embedded --ledger "$T/l.db"; want_rc 2; want_sentence
run compare; want_rc 2; want_sentence
run ledger ls --ledger "$T/l.db"; want_rc 0; want_out 'compare'
run compare embedded "$T/none.gguf" --suite "$T/s.md" --ledger "$T/n.db"; want_rc 1; want_err 'none.gguf: cannot open'
want "the first was asked although the second is missing" test ! -e "$T/n.db"

# Quantisations: the reference diverges from itself by nothing, a smaller one by something.
run quantize "${0%/*}/../../models/seedling-q8_0.gguf" "$T/q4.gguf" Q4_0 --allow-requantize -q; want_rc 0
run compare embedded embedded "$T/q4.gguf" --quants --text-tokens 512 --ledger "$T/l.db" --json; want_rc 0; no_err
if command -v jq >/dev/null; then
  cp "$T/out" "$T/json"
  want "the same file diverges" jq -e '.quants[1].kl == 0 and .quants[1].same_top == 1 and .quants[1].perplexity == .quants[0].perplexity' "$T/json" >/dev/null
  want "a smaller one does not diverge" jq -e '.quants[2].kl > 0 and .quants[2].bytes < .quants[0].bytes and .quants[2].same_top < 1' "$T/json" >/dev/null
  want "figures are missing" jq -e '.quants | all(.decode_tps > 0 and .prefill_tps > 0 and .memory > 0 and .perplexity > 1)' "$T/json" >/dev/null
fi

# Its perplexity is the one of `quern perplexity`.
if command -v jq >/dev/null; then
  run perplexity embedded -f "${0%/*}/../../suites/README.md" --ctx 256 --json; want_rc 0; cp "$T/out" "$T/ppl"
  run compare embedded embedded --quants --text "${0%/*}/../../suites/README.md" --text-tokens 1000000 --ledger "$T/l.db" --json; want_rc 0
  want "two perplexities of one text" jq -e --slurpfile p "$T/ppl" '.quants[0] | (.perplexity / $p[0].perplexity - 1 | fabs) < 1e-5 and .scored == $p[0].scored and
    (.perplexity_error / $p[0].error - 1 | fabs) < 1e-4' "$T/out" >/dev/null
fi

run compare embedded; want_rc 2; want_err 'two contenders|operand'
run compare embedded embedded; want_rc 2; want_sentence
run compare embedded embedded --suite "$T/none"; want_rc 1; want_sentence
run compare embedded http://127.0.0.1:9/v1 --suite "$T/s.md"; want_rc 1; want_sentence; want_err '#'
run compare embedded http://127.0.0.1:9/v1#x --quants; want_rc 2
printf '## a\ncheck: regex\n```prompt\np\n```\n```check\n(\n```\n' >"$T/bad.md"
run compare embedded embedded --suite "$T/bad.md" --ledger "$T/l.db"; want_rc 1; want_sentence; want_err 'bad.md:7: .*pattern'
printf '## a\ncheck: exact\n```prompt\np\n```\n```check\n1\n```\n```bad\n1\n```\n' >"$T/bad.md"
run compare embedded embedded --suite "$T/bad.md" --ledger "$T/l.db"; want_rc 1; want_sentence; want_err 'bad.md:1: .*bad example'
finish
