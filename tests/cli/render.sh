#!/bin/sh
# quern render: the prompt's bytes and nothing else; exit code 1 and the reason where the template raises.
. "$(dirname "$0")/common"

cat >"$T/talk.json" <<'J'
[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Gr\u00fc\u00dfe"}]
J
printf '<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nGr\303\274\303\237e<|im_end|>\n' >"$T/without"
{ cat "$T/without"; printf '<|im_start|>assistant\n'; } >"$T/with"
run render embedded --messages "$T/talk.json"; want_rc 0; no_err; want_same "$T/out" "$T/with"
planted want_same "$T/out" "$T/without"
run render embedded --messages "$T/talk.json" --no-generation-prompt; want_rc 0; want_same "$T/out" "$T/without"
in=$T/talk.json; run render embedded --messages -; want_rc 0; want_same "$T/out" "$T/with"; in=/dev/null

# A template by itself, its variables, the day
printf '{{ bos_token }}{{ n + 1 }}{%% for m in messages %%}|{{ m.role }}{%% endfor %%}' >"$T/t.jinja"
run render "$T/t.jinja" --messages "$T/talk.json" --var 'bos_token="<s>"' --var n=41; want_rc 0; want_out '^<s>42\|system\|user$'
printf '{{ strftime_now("%%d %%b %%Y") }}' >"$T/d.jinja"
run render "$T/d.jinja" --messages "$T/talk.json" --date 2026-02-03; want_rc 0; want_out '^03 Feb 2026$'
printf '{%% if tools %%}{{ tools | length }}{%% endif %%}' >"$T/n.jinja"
echo '[{"type":"function","function":{"name":"f","parameters":{}}}]' >"$T/tools.json"
run render "$T/n.jinja" --messages "$T/talk.json" --tools "$T/tools.json"; want_rc 0; want_out '^1$'

# Refusals
printf '{{ raise_exception("no system text, please") }}' >"$T/r.jinja"
run render "$T/r.jinja" --messages "$T/talk.json"; want_rc 1; want_sentence; want_err 'no system text, please'; no_out
printf '{%% if %%}' >"$T/s.jinja"
run render "$T/s.jinja" --messages "$T/talk.json"; want_rc 1; want_sentence; no_out
printf 'a\0b' >"$T/z.jinja"
run render "$T/z.jinja" --messages "$T/talk.json"; want_rc 1; want_sentence; want_err 'NUL'
printf '{%% for i in range(100000) %%}{%% for j in range(100000) %%}x{%% endfor %%}{%% endfor %%}' >"$T/l.jinja"
run render "$T/l.jinja" --messages "$T/talk.json"; want_rc 1; want_sentence
for j in '' '{' '3' '{"a":1}' '[3]'; do
  printf %s "$j" >"$T/bad.json"; run render embedded --messages "$T/bad.json"; want_rc 1; want_sentence; no_out
done
if [ -c /dev/full ]; then
  "$Q" render embedded --messages "$T/talk.json" >/dev/full 2>"$T/err"; rc=$?; what="render >/dev/full"
  want_rc 1; want_sentence; want_err 'No space left'
fi
finish
