#!/bin/sh
# bench/peers: turns, medians and ratios, with a peer that only claims its figures.
. "$(dirname "$0")/common"
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 77; }
peers=$(dirname "$0")/../../bench/peers
BUILD=$(dirname "$Q") && export BUILD
run synth tiny Q4_K_M "$T/m.gguf" -q; want_rc 0
mkdir -p "$T/other/bin"
cat >"$T/other/bin/llama-bench" <<'E2'
#!/bin/sh
echo "$*" >>"$(dirname "$0")/log"
echo 'loading [0]' >&2
printf '[\n {"n_prompt": 32, "n_gen": 0, "avg_ts": 10.5},\n {"n_prompt": 0, "n_gen": 4, "n_depth": 0, "avg_ts": 2.0}\n]\n'
E2
printf '#!/bin/sh\necho no such model >&2\nexit 3\n' >"$T/broken"
chmod +x "$T/other/bin/llama-bench" "$T/broken"
peers() {
  what="bench/peers $*"
  "$peers" "$@" >"$T/out" 2>"$T/err"
  rc=$?
}
peers "$T/m.gguf" --peer "$T/other/bin/llama-bench" -p 32 -n 4 -t 1 -r 2; want_rc 0; no_err
want_out '^test +quern +other +ratio$'; want_out '^pp32 +[0-9.]+ +10\.50 +[0-9.]+$'; want_out '^tg4 +[0-9.]+ +2\.00 +[0-9.]+$'
planted want_out '^pp32 +[0-9.]+ +10\.51 '
want "not one turn per round" [ "$(grep -c -- '-p 32 -n 4 -t 1 -r 1 -o json$' "$T/other/bin/log")" = 2 ]
peers "$T/m.gguf" --peer "$T/broken" -p 32 -n 0 -t 1 -r 1 --json; want_rc 0; want_err 'exit code 3: no such model'; want_err 'is left out'
want_out '^\{"quern": \{"pp32": \{"median": [0-9.]+, "runs": \[[0-9.]+\]\}\}\}$'
peers "$T/none.gguf" -r 1; want_rc 1
finish
