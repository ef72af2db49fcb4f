#!/bin/sh
# quern tokenize: one compact JSON array of ids per line of input, at once, whatever bytes the line holds.
. "$(dirname "$0")/common"
in=$T/in

printf 'def f(x):\n\n  return x\n' >"$in"
run tokenize embedded; want_rc 0; no_err
want "three lines in, $(wc -l <"$T/out") out" [ "$(wc -l <"$T/out")" = 3 ]
want "not arrays of numbers" [ -z "$(grep -vE '^\[([0-9]+(,[0-9]+)*)?\]$' "$T/out")" ]
want_out '^\[\]$'
cp "$T/out" "$T/plain"
printf 'def f(x):\n\n  return x' >"$in"
run tokenize embedded; want_rc 0; want_same "$T/out" "$T/plain" # the last newline is no part of the text
planted want_same "$T/out" "$in"
printf '6465662066287829 3a\n' | tr -d ' ' >"$in"; printf '\n20207265 7475726E2078\n' | tr -d ' ' >>"$in"
run tokenize embedded --hex; want_rc 0; want_same "$T/out" "$T/plain"
for l in 0 0g xy ' 00' 'zz'; do
  echo "$l" >"$in"; run tokenize embedded --hex; want_rc 1; want_sentence; want_err 'standard input: line 1: '; no_out
done
printf '00\nff\n0d\n' >"$in"; run tokenize embedded --hex; want_rc 0
want "three arrays" [ "$(grep -cE '^\[[0-9]+(,[0-9]+)*\]$' "$T/out")" = 3 ]
printf 'a\r\n' >"$in"; run tokenize embedded; cp "$T/out" "$T/cr"
echo 610d >"$in"; run tokenize embedded --hex; want_same "$T/out" "$T/cr" # only the newline is stripped
: >"$in"; run tokenize embedded; want_rc 0; no_out

echo '<|im_end|>' >"$in"
run tokenize embedded; want_out '^\[2042\]$'
run tokenize embedded --no-special; want_rc 0; want_out '^\[[0-9]+(,[0-9]+)+\]$'
run tokenize embedded --add-bos no; want_rc 0; want_out '^\[2042\]$'
run tokenize embedded --add-bos=auto; want_rc 0; want_out '^\[2042\]$'

# A line is answered before the next one is asked for.
mkfifo "$T/to" "$T/from"
timeout 20 "$Q" tokenize embedded <"$T/to" >"$T/from" 2>/dev/null &
exec 3>"$T/to" 4<"$T/from"
echo hello >&3; got=$(timeout 10 head -n 1 <&4); what="a line at a time"
want "no answer before the end of the input" [ -n "$got" ]
exec 3>&- 4<&-
wait
finish
