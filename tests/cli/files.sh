#!/bin/sh
# Model files that are none: exit code 1 and one sentence that names the file and what is wrong with it.
. "$(dirname "$0")/common"

model=$(dirname "$0")/../../models/seedling-q8_0.gguf
mkdir "$T/folder"
: >"$T/empty.gguf"
echo 'This is not a model.' >"$T/text.gguf"
: >"$T/secret.gguf"; chmod 0 "$T/secret.gguf"
for n in 3 4 23 24 100 5000 60000 100000 2000000; do head -c $n "$model" >"$T/cut$n.gguf"; done
echo '[{"role":"user","content":"hi"}]' >"$T/talk.json"

every() { # FILE PATTERN: each command refuses it
  for c in run show tokenize logits perplexity render; do
    case $c in
      run) run run "$1" -p hi ;;
      logits) run logits "$1" --tokens 1,2 -o "$T/o" ;;
      perplexity) run perplexity "$1" -f "$model" ;;
      render) run render "$1" --messages "$T/talk.json" ;;
      *) run $c "$1" ;;
    esac
    want_rc 1; want_sentence; want_err "$(basename "$1")"; want_err "$2"; no_out
    want "an output file is left" [ ! -e "$T/o" ]
  done
}
every "$T/nothing.gguf" 'No such file'
every "$T/folder" 'irectory'
every "$T/empty.gguf" '[a-z]'
every "$T/text.gguf" '[a-z]'
[ "$(id -u)" = 0 ] || every "$T/secret.gguf" 'Permission denied'
for n in 3 4 23 24 100 5000 60000; do every "$T/cut$n.gguf" '[a-z]'; done
planted want_rc 0
planted want_err 'all is well'
# Cut in the weights: the header alone must not be enough.
run run "$T/cut2000000.gguf" -p hi; want_rc 1; want_sentence; want_err 'cut2000000.gguf'; no_out

# Texts
run run -f "$T/nothing"; want_rc 1; want_err '^quern: .*nothing: cannot open: No such file'
run run -f "$T/folder"; want_rc 1; want_err '^quern: .*folder: cannot read: Is a directory'
run perplexity embedded -f "$T/nothing"; want_rc 1; want_sentence
run perplexity embedded -f "$T/empty.gguf"; want_rc 1; want_sentence
run render embedded --messages "$T/nothing"; want_rc 1; want_sentence
run render embedded --messages "$T/text.gguf"; want_rc 1; want_sentence
finish
